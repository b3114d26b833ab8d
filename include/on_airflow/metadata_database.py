"""Brings Airflow's metadata database up to date and imports connections, pools and variables into it.

All steps run in one process, because every `airflow` command costs seconds of imports.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import make_url


def prepare(connections: Mapping[str, object], pools: Mapping[str, object], variables: Mapping[str, object]) -> None:
    """Migrate the database, then import the given objects, each in the form that `airflow ... import` reads."""
    from airflow.cli.cli_parser import get_parser

    steps: list[list[str]] = [["db", "migrate"]]
    with tempfile.TemporaryDirectory() as folder:
        for kind, content, options in (
            ("connections", connections, ["--overwrite"]),
            ("pools", pools, []),
            ("variables", variables, []),
        ):
            if content:
                path = Path(folder) / f"{kind}.json"
                path.write_text(json.dumps(content))
                steps.append([kind, "import", *options, str(path)])
        parser = get_parser()
        for step in steps:
            arguments = parser.parse_args(step)
            arguments.func(arguments)
    read_beside_a_writer()
    forget_unfinished_runs()


def read_beside_a_writer() -> None:
    """Switch the SQLite file permanently to its write-ahead log: then readers and writer do not block each other."""
    with contextlib.closing(sqlite3.connect(_file())) as database:
        database.execute("pragma journal_mode=wal")


def forget_unfinished_runs() -> None:
    """Remove the runs that had not ended when the scheduler was stopped, with their tasks.

    After hours of rest Airflow would report them as late, and end them as failed. Their work is not lost: the next run
    of each DAG does it.
    """
    with contextlib.closing(sqlite3.connect(_file())) as database, database:
        database.execute("pragma foreign_keys = on")  # the tasks and the deadlines of the runs go with them
        database.execute("delete from dag_run where state in ('queued', 'running')")


def _file() -> str:
    from airflow.configuration import conf

    path = make_url(conf.get("database", "sql_alchemy_conn")).database
    assert path is not None
    return path
