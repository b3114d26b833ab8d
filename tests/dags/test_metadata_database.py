"""What a start of the laptop's Airflow finds in its database."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from include.on_airflow.metadata_database import forget_unfinished_runs

NOW = "2026-11-30 12:00:00.000000"


def insert(database: sqlite3.Connection, table: str, **values: object) -> None:
    """Add a row; other columns that must not be null get an empty value."""
    columns = database.execute(f"pragma table_info({table})").fetchall()
    required = {
        name: NOW if "TIME" in kind else 0 if kind == "INTEGER" else "{}" for _, name, kind, null, *_ in columns if null
    }
    row = required | values
    marks = ", ".join("?" * len(row))
    database.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", tuple(row.values()))


def test_runs_that_a_stop_interrupted_are_forgotten_with_their_tasks(
    airflow_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours later Airflow would report them as late, and end them as failed."""
    file = tmp_path / "airflow.db"
    shutil.copy(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db", file)
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("pragma foreign_keys = on")
        database.execute("delete from dag_run")
        database.execute("pragma foreign_keys = off")
        for number, state in enumerate(("success", "running", "failed", "queued"), 1):
            insert(database, "dag_run", id=number, dag_id="d", run_id=state, state=state)
            insert(database, "task_instance", id=str(number), task_id="t", dag_id="d", run_id=state, map_index=-1)
    forget_unfinished_runs()
    with closing(sqlite3.connect(file)) as database:
        for table in ("dag_run", "task_instance"):
            found = database.execute(f"select run_id from {table}").fetchall()
            assert set(found) == {("success",), ("failed",)}
