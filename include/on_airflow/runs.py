"""Runs and tasks of Airflow: their addresses, states and successes.

A task is named `dag_id/task_id` and a run `dag_id/run_id`, as in the alert state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from include.settings import AlertSettings

log = logging.getLogger(__name__)

Response = TypeVar("Response")


def link(settings: AlertSettings, dag_id: str, run_id: str, task_id: str | None = None) -> str:
    """Address of a run, or of a task in it, in the Airflow UI."""
    base = f"{settings.airflow_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}"
    return f"{base}/tasks/{quote(task_id)}" if task_id else base


def successes(task: str, except_run: str = "") -> int | None:
    """Number of instances of the task that have succeeded, without the instance in `except_run`.

    None where Airflow cannot be asked, for example in the DAG processor, which runs the callback of a killed task.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    dag_id, _, task_id = task.partition("/")
    run_id = except_run.partition("/")[2]

    def count() -> int:
        filters: dict[str, Any] = {"dag_id": dag_id, "task_ids": [task_id], "states": ["success"]}
        total = int(RuntimeTaskInstance.get_ti_count(**filters))
        return total - int(RuntimeTaskInstance.get_ti_count(**filters, run_ids=[run_id])) if run_id else total

    return ask(count, f"the successes of {dag_id} / {task_id} cannot be counted here")


def run_state(run: str) -> str | None:
    """Airflow's state of a run; None where Airflow cannot be asked, or when the run was deleted."""
    from airflow.sdk import DagRunState
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    dag_id, _, run_id = run.partition("/")

    def state() -> str:
        return DagRunState(RuntimeTaskInstance.get_dagrun_state(dag_id=dag_id, run_id=run_id)).value

    return ask(state, f"the state of {dag_id} / {run_id} cannot be asked here")


def ask(request: Callable[[], Response], warning: str) -> Response | None:
    """Airflow's response; None, and `warning` in the log, where Airflow cannot be asked or its API server fails."""
    from airflow.sdk.exceptions import AirflowRuntimeError

    try:
        return request()
    except (NameError, RuntimeError, ValueError, AirflowRuntimeError) as error:
        log.warning("%s: %s", warning, error)
        return None
