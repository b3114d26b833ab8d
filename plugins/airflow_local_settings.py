"""Loads modules once, in the process that forks, because every fork would load them again.

Airflow imports this module at start because `plugins/` is on its path. LocalExecutor forks
its task processes from the scheduler. Without this module every task imports dbt, its adapters,
Cosmos and the providers' hooks again (measured for one run of seven dbt tasks: 46
CPU-seconds without, 18 with). The DAG processor forks a child for each parse of a file
(docs/performance.md has the figures).
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
"""Not imported from `include.settings`: a forked task may have another version of `include`, from a Git bundle."""

PARSING = (
    "airflow.providers.amazon.aws.fs.s3",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.decorators.short_circuit",
    "cosmos.airflow.task_group",
    "cosmos.operators.local",
    "cosmos.plugin.airflow3",
    "pydantic_settings",
)
"""Modules that the DAG files import, and those that Airflow loads when a DAG file reads the manifest: the plugins and
file systems of all installed providers."""
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
    """Import the modules of the command in `arguments`; log each that is not installed."""
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
    """Let dbt read its saved parse of the project, if there is one, as every task does; the result is not used.

    At its first use dbt generates the code that (de)serialises each kind of node and schema, and reads the source
    of each loaded module. That takes a second or two, which every fork would spend again.

    A saved parse of another environment, or of other files, is useless. So dbt is stopped as soon as it begins to
    parse. Its static parser would start threads, which a fork does not inherit: a task that parses would wait for these
    threads and never end.
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
            response = dbtRunner().invoke([*command, *(["--target", target] if target else [])])
    if not response.success:
        log.warning("dbt's saved parse is not loaded in advance: %s", response.exception)
    return response.success


@contextlib.contextmanager
def _without_static_parser() -> Iterator[None]:
    """Make every call of dbt's static parser an error."""
    import dbt_extractor

    name = dbt_extractor.py_extract_from_source.__name__
    users = [module for key, module in list(sys.modules.items()) if key.startswith("dbt.") and name in vars(module)]

    def refuse(_source: str) -> NoReturn:
        raise RuntimeError(
            "the saved parse is not of this environment and these files, so each task parses the project"
        )

    for module in users:
        setattr(module, name, refuse)
    try:
        yield
    finally:
        for module in users:
            setattr(module, name, dbt_extractor.py_extract_from_source)


preload(sys.argv)
