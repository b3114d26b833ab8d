"""Loads what every fork would load again: once, in the process that forks.

Airflow imports this module at start because `plugins/` is on its path. LocalExecutor forks
its task processes from the scheduler: without this every task imports dbt, its adapters,
Cosmos and the providers' hooks again (measured for one run of seven dbt tasks: 46
CPU-seconds without, 18 with). The DAG processor forks a child for each parse of a file
(benchmarks/README.md has the figures).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

DBT_PROJECT = Path(__file__).resolve().parents[1] / "include" / "dbt"
"""Not from `include.settings`: a forked task may have another version of `include`, from a Git bundle."""

PARSING = (
    "airflow.providers.amazon.aws.fs.s3",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.decorators.short_circuit",
    "cosmos.airflow.task_group",
    "cosmos.operators.local",
    "cosmos.plugin.airflow3",
    "pydantic_settings",
)
"""What the DAG files name, and what reading the manifest sets off: Airflow loads the plugins and file systems of all
that is installed."""
PRELOADED: dict[str, tuple[str, ...]] = {
    "dag-processor": PARSING,
    "scheduler": (
        *PARSING,
        "dbt.cli.main",
        "dbt.task.build",
        "dbt.adapters.duckdb",
        "dbt.adapters.athena",
        "airflow.providers.apache.kafka.hooks.client",
        "airflow.providers.smtp.hooks.smtp",
        "openlineage.common.provider.dbt.local",
    ),
}
"""Modules by the `airflow` command that forks."""

log = logging.getLogger(__name__)


def preload(arguments: list[str]) -> None:
    """Import the modules of the command in `arguments`; one that is not installed is reported and passed over."""
    for command, modules in PRELOADED.items():
        if command not in arguments:
            continue
        for name in modules:
            try:
                importlib.import_module(name)
            except ImportError as error:  # a deployment may have left an adapter out
                log.warning("not preloaded: %s (%s)", name, error)
        if command == "scheduler":
            read_saved_parse(DBT_PROJECT)


def read_saved_parse(project: Path) -> bool:
    """Let dbt read its saved parse of the project, if there is one, as every task does; nothing of it is kept.

    At its first use dbt generates the code that (de)serialises each kind of node and schema, and looks into the source
    of each loaded module: a second or two, which every fork would spend again.

    A saved parse of another environment, or of other files, is given up as soon as dbt begins to parse: its static
    parser starts threads, which a fork has not, so each task that parses as well would wait for them for ever.
    """
    saved = project / "target" / "partial_parse.msgpack"
    if not saved.exists():
        return False
    from dbt.cli.main import dbtRunner

    target = os.environ.get("WAREHOUSE_TARGET")  # without it the profile has a default
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(saved, folder)
        command = ["--quiet", "--log-level-file", "none", "parse", "--target-path", folder]
        command += ["--project-dir", str(project), "--profiles-dir", str(project), "--profile", "crypto_lakehouse"]
        with _without_static_parser():
            answer = dbtRunner().invoke([*command, *(["--target", target] if target else [])])
    if not answer.success:
        log.warning("dbt is not warm: %s", answer.exception)
    return answer.success


@contextlib.contextmanager
def _without_static_parser() -> Iterator[None]:
    """Wherever dbt uses its static parser, a call is an error."""
    import dbt_extractor

    name = dbt_extractor.py_extract_from_source.__name__
    users = [one for key, one in list(sys.modules.items()) if key.startswith("dbt.") and name in vars(one)]

    def refuse(_source: str) -> NoReturn:
        raise RuntimeError(
            "the saved parse is not of this environment and these files, so each task parses the project"
        )

    for one in users:
        setattr(one, name, refuse)
    try:
        yield
    finally:
        for one in users:
            setattr(one, name, dbt_extractor.py_extract_from_source)


preload(sys.argv)
