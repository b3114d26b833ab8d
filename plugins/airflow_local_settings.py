"""Loads what every fork would load again: once, in the process that forks.

Airflow imports this module at start because `plugins/` is on its path. LocalExecutor forks
its task processes from the scheduler: without this every task imports dbt, its adapters,
Cosmos and the providers' hooks again (measured for one run of seven dbt tasks: 46
CPU-seconds without, 18 with). The DAG processor forks a child for each parse of a file
(docs/monitoring.md has the figures).
"""

from __future__ import annotations

import importlib
import logging
import sys

PARSING = ("cosmos.operators.local", "cosmos.plugin.airflow3", "airflow.providers.amazon.aws.fs.s3")
"""What reading the manifest sets off: Airflow loads the plugins and file systems of all that is installed."""
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
    ),
}
"""Modules by the `airflow` command that forks."""


def preload(arguments: list[str]) -> None:
    """Import the modules of the command in `arguments`; one that is not installed is reported and passed over."""
    for command, modules in PRELOADED.items():
        if command not in arguments:
            continue
        for name in modules:
            try:
                importlib.import_module(name)
            except ImportError as error:  # a deployment may have left an adapter out
                logging.getLogger(__name__).warning("not preloaded: %s (%s)", name, error)


preload(sys.argv)
