"""DAGs whose only task fails, for the tests of the failure callback."""

from __future__ import annotations

import msgspec
import pendulum
from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.on_airflow.callbacks import TEST_RESULTS, on_task_failure
from include.state.dbt_tests import DbtTests, FailingTest

FAILED = FailingTest("not_null_price", "error", 3, "Got 3 results", rows="id=7 price=")
WARNED = FailingTest("price_in_range", "warn", 9, "Got 9 results")


def failing(dag_id: str, tests: DbtTests | None = None) -> DAG:
    """A DAG whose task pushes `tests` as a dbt task does, and fails."""
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False) as dag:

        @task(on_failure_callback=on_task_failure, retries=0)
        def build() -> None:
            if tests is not None:
                get_current_context()["ti"].xcom_push(key=TEST_RESULTS, value=msgspec.to_builtins(tests))
            raise AirflowFailException("connection to postgresql://airflow:hunter2@db refused")

        build()
    return dag


plain = failing("fails_plainly")
in_dbt = failing("fails_in_dbt", DbtTests(1, 1, 1, (FAILED, WARNED)))
