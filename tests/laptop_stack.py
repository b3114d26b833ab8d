"""The laptop stack for tests: its ports, its Airflow, and a wait for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from include.local.airflow_api import AirflowApi
from include.local.stack import Demo
from include.settings import LocalSettings
from tests.servers import free_port


def eventually(
    condition: Callable[[], bool], seconds: float, pause: float = 0.5, state: Callable[[], object] = lambda: ""
) -> None:
    """Return when `condition` holds; after `seconds` fail the test and show `state`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds:.0f} s: {state()}"
        time.sleep(pause)


def local_settings(state: Path) -> LocalSettings:
    """Settings with free ports and a transform that only runs when it is triggered."""
    return LocalSettings(
        state=state,
        kafka_port=free_port(),
        kafka_controller_port=free_port(),
        aws_port=free_port(),
        smtp_port=free_port(),
        airflow_port=free_port(),
        transform_schedule="0 0 29 2 *",  # the DAG starts in 2026, so before 2028 unpausing begins no run
    )


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack, its API and its environment."""

    demo: Demo
    api: AirflowApi
    values: dict[str, str]

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float) -> tuple[str, dict[str, str | None]]:
        """Wait for the run's end; returns its state and its tasks' states."""
        eventually(
            lambda: self.api.run(dag_id, run_id).state in {"success", "failed"},
            seconds,
            state=lambda: self.api.task_states(dag_id, run_id),
        )
        return self.api.run(dag_id, run_id).state, self.api.task_states(dag_id, run_id)

    def warehouse(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of a statement on the warehouse file, which no run is using; a test may change it too.

        A task's process holds the file's lock for a moment after Airflow has recorded the end of the task.
        """
        deadline = time.monotonic() + 120
        while True:
            try:
                with duckdb.connect(self.values["WAREHOUSE_DUCKDB_PATH"]) as warehouse:
                    return warehouse.execute(statement, parameters).fetchall()
            except duckdb.IOException:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def run_dag(self, dag_id: str, **params: object) -> tuple[str, dict[str, str | None]]:
        """Trigger the DAG and wait for the run's end, at most ten minutes; returns as `wait_for_run` does."""
        return self.wait_for_run(dag_id, self.api.trigger(dag_id, params), 600)
