"""DAGs whose only task fails, for the tests of the failure callback."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.on_airflow.callbacks import on_task_failure

TESTS: list[dict[str, Any]] = [
    {"name": "unique_crypto_raw", "status": "pass", "failures": 0, "message": ""},
    {"name": "not_null_price", "status": "fail", "failures": 3, "message": "Got 3 results", "rows": "id=7 price="},
    {"name": "price_in_range", "status": "warn", "failures": 9, "message": "Got 9 results"},
]


def failing(dag_id: str, tests: list[dict[str, Any]] | None = None) -> DAG:
    """A DAG whose task leaves `tests` as dbt tasks do, and fails."""
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False) as dag:

        @task(on_failure_callback=on_task_failure, retries=0)
        def build() -> None:
            if tests is not None:
                get_current_context()["ti"].xcom_push(key="test_results", value=tests)
            raise AirflowFailException("connection to postgresql://airflow:hunter2@db refused")

        build()
    return dag


plain = failing("fails_plainly")
in_dbt = failing("fails_in_dbt", TESTS)
