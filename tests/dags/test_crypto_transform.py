"""The transform DAG on the local target, over landed files: parameters, broken data, who is told.

One warehouse for the module; the tests stand in the order in which they use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError
from cosmos.plugin.airflow3 import create_cosmos_fastapi_app
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from fastapi.testclient import TestClient

from include.settings import StorageSettings
from include.transform import dbt_docs
from include.watch import layer_state
from tests.dags.conftest import DAGS, Mailbox, aws_connection
from tests.warehouse.landed_topic import LandedTopic, market_day, open_bucket

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

BUCKET = "transform-dag"


def load_dag() -> DAG:
    """The DAG, without the minutes that it waits before it tries a task again, and without its deadline.

    `dag.test()` of Airflow 3.3.2 looks a deadline up by the alert itself instead of its id, and fails.
    """
    bag = DagBag(str(DAGS / "crypto_transform.py"))
    assert not bag.import_errors
    dag = bag.dags["crypto_transform"]
    dag.deadline = None
    for task in dag.tasks:
        task.retries = 0
    return dag


@dataclass
class Transform:
    """Runs of the DAG, and its warehouse."""

    database: Path
    storage: StorageSettings
    states: dict[str, str] = field(default_factory=dict)

    def run(self, **params: Any) -> set[str]:
        """One run; the tasks that did what they are for. Their states are in `states`."""
        run = load_dag().test(run_conf=params or None)  # loaded anew: a run's parameters stay in the DAG object
        assert run is not None
        self.close()
        self.states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
        return {task_id for task_id, state in self.states.items() if state == "success"}

    def close(self) -> None:
        """The DuckDB adapter keeps the file open in this process; a worker's ends with its process."""
        kept: Any = DuckDBConnectionManager._ENV
        if kept is not None:
            kept.close()
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Look into the warehouse, or change it, which only a test would do."""
        with duckdb.connect(str(self.database)) as connection:
            return connection.execute(statement).fetchall()

    def rows(self, table: str) -> int:
        return int(self.sql(f"select count(*) from {table}")[0][0])


BRONZE, SILVER, GOLD = ("lake_bronze.crypto_raw", "lake_silver.crypto_stage", "lake_gold.crypto_curated")


@pytest.fixture(scope="module")
def transform(airflow_db: None, aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transform]:
    database = tmp_path_factory.mktemp("transform") / "warehouse.duckdb"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(aws_endpoint),
            "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
            "AWS_ENDPOINT_URL": aws_endpoint,
            "S3_BUCKET": BUCKET,
            "WAREHOUSE_TARGET": "local",
            "WAREHOUSE_DATABASE": "lake",
            "WAREHOUSE_DUCKDB_PATH": str(database),
            "ALERT_EMAILS": json.dumps(["oncall@example.com"]),
        }.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        topic = LandedTopic()
        now = datetime.now(UTC)
        market_day(topic, now - timedelta(hours=30), hours=30, interval=timedelta(minutes=5), faults=False)
        topic.land(open_bucket(BUCKET, aws_endpoint))
        yield Transform(database, StorageSettings(bucket=BUCKET))


def test_a_run_builds_every_layer_and_leaves_its_state(transform: Transform) -> None:
    assert transform.run() == set(transform.states), transform.states
    states = layer_state.read_all(boto3.client("s3"), transform.storage)
    assert {layer: state and state.rows for layer, state in states.items()} == {
        "bronze": transform.rows(BRONZE),
        "silver": transform.rows(SILVER),
        "gold": transform.rows(GOLD),
    }
    assert transform.rows(GOLD) > 3 * 24


def test_nothing_new_skips_everything(transform: Transform) -> None:
    assert transform.run() == {"new_data"}
    assert "failed" not in transform.states.values()


def test_maintenance_tests_every_row_and_shows_the_data_dictionary(
    transform: Transform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__DBT_DOCS_PROJECTS", dbt_docs.cosmos_projects(tmp_path / "docs"))
    bag = DagBag(str(DAGS / "lakehouse_maintenance.py"))
    run = bag.dags["lakehouse_maintenance"].test()
    transform.close()
    assert run is not None
    assert {str(ti.state) for ti in run.get_task_instances()} == {"success"}
    assert transform.rows("lake_monitoring.test_run") > 60
    answer = TestClient(create_cosmos_fastapi_app()).get(f"/{dbt_docs.PROJECT}/dbt_docs_index.html")
    assert (answer.status_code, "quote_hour_id" in answer.text) == (200, True)


def test_a_selection_builds_only_that_and_a_target_date_its_hours(transform: Transform) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    right = transform.sql(f"select * from {GOLD} order by all")
    transform.sql(f"update {GOLD} set longest_silence_seconds = 12345")
    assert transform.run(select="crypto_curated", target_date=str(yesterday)) == {
        "new_data",
        "gold.crypto_curated_model_build",
        "cross_layer_tests",  # gold against silver
    }, transform.states
    assert "failed" not in transform.states.values()
    wrong = (
        f"select count(*) filter (longest_silence_seconds = 12345), count(*) from {GOLD} where cast(hour_start as date)"
    )
    assert transform.sql(f"{wrong} = date '{yesterday}'")[0][0] == 0
    others = transform.sql(f"{wrong} <> date '{yesterday}'")[0]
    assert others[0] == others[1] > 0
    # A full refresh does every hour again, and takes away what no layer below knows.
    transform.sql(f"insert into {GOLD} select * replace ('x' as quote_hour_id, 'DOGE' as symbol) from {GOLD} limit 1")
    assert "gold.crypto_curated_model_build" in transform.run(select="crypto_curated", full_refresh=True)
    assert transform.sql(f"select * from {GOLD} order by all") == right


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"target_date": "2999-01-01"}, "after today"),
        ({"target_date": "2026-01-01", "full_refresh": True}, "exclude each other"),
        ({"select": "no_such_model"}, "matches no model"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_built(
    transform: Transform, mailbox: Mailbox, params: dict[str, Any], says: str
) -> None:
    transform.run(**params)
    assert transform.states.pop("new_data") == "failed"
    assert set(transform.states.values()) <= {"upstream_failed", "skipped"}
    for mail in mailbox.take():  # the first of them is told
        assert says in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]


@pytest.mark.parametrize("params", [{"select": "--version"}, {"target_date": "today"}, {"full_refresh": "perhaps"}])
def test_values_of_the_wrong_form_are_refused_by_airflow(transform: Transform, params: dict[str, Any]) -> None:
    asked = load_dag().params
    with pytest.raises(ParamValidationError):  # noqa: PT012 which of the two steps refuses is Airflow's affair
        asked.update(params)
        asked.validate()


def test_a_broken_test_is_told_with_count_and_rows(
    transform: Transform, mailbox: Mailbox, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    transform.sql(f"insert into {SILVER} select * from {SILVER} where symbol = 'XRP' order by last_updated limit 3")
    transform.run(select="crypto_stage")
    assert transform.states["silver.crypto_stage_model_build"] == "failed"
    (mail,) = mailbox.take()
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "sample rows:" in text
    assert "3 failing rows" in text
    assert "quote_id" in text
    logged = caplog.text + "".join(capfd.readouterr())
    assert "fail, 3 rows. Got 3 results, configured to fail if != 0" in logged
    # The layer's recorded state is of the last whole build.
    state = layer_state.read(boto3.client("s3"), transform.storage, "silver")
    assert state is not None
    assert state.tests.failed == 0
