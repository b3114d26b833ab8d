"""A landing starts `crypto_transform`: with a real scheduler and triggerer, which may be away for a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import boto3
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from include.catalogue import LAYERS
from include.ingest.quote import encode
from include.ingest.sources.simulator import Simulator
from include.landing.layout import object_key
from include.local import environment
from include.local.airflow_api import DagRun
from include.local.process_control import ProcessControl
from include.local.programs import SERVERS
from include.local.servers import check_ports, start_servers
from include.local.stack import Demo
from include.local.start import prepare, provision, start_airflow
from include.local.status import TRANSFORM
from include.monitoring.prometheus import names
from include.settings import SimulatorSettings
from tests.laptop_stack import Stack, eventually, local_settings

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(900)]

TRIGGERER = "airflow-triggerer"
LINEAGE = "lineage.jsonl"
"""The file in the state folder to which Airflow's OpenLineage provider writes its events, one a line."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Airflow and S3, without producer and consumer. The transform starts when something has landed."""
    changes = {"transform_schedule": "", "broker": "built-in"}
    local = local_settings(tmp_path_factory.mktemp("stack")).model_copy(update=changes)
    demo = Demo(local, ProcessControl(local.state), Console(stderr=True))
    check_ports(local)
    lineage = {"type": "file", "log_file_path": str(local.state / LINEAGE), "append": True}
    try:
        values = start_servers(demo) | {"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(lineage)}
        environment.write(demo.environment_file, values)
        preparations = prepare(demo)
        provision(demo)
        with environment.applied(values):
            api = start_airflow(demo, preparations)
            api.unpause(TRANSFORM)
            api.parse(TRANSFORM)
            yield Stack(demo, api, values)
    finally:
        if demo.control.running():
            demo.control.shutdown(last=SERVERS)


def land(stack: Stack, offset: int) -> datetime:
    """Put one file with a quote of each coin; returns when."""
    now = datetime.now(UTC)
    quotes = Simulator(SimulatorSettings()).quotes_at(now)
    place = {"_topic": "selected_crypto_data", "_partition": 0, "_timestamp": round(now.timestamp() * 1000)}
    records = [place | {"_offset": offset + n} | json.loads(encode(price)) for n, price in enumerate(quotes)]
    key = object_key("crypto_data/", "crypto_data", 0, offset, place["_timestamp"])  # type: ignore[arg-type]
    body = "[\n" + ",\n".join(json.dumps(record, separators=(",", ":")) for record in records) + "\n]"
    s3 = boto3.client("s3", endpoint_url=stack.values["AWS_ENDPOINT_URL"])
    s3.put_object(Bucket=stack.values["S3_BUCKET"], Key=key, Body=body.encode())
    return now


def wait_for_runs(stack: Stack, number: int) -> list[DagRun]:
    """The runs, newest first, when `number` of them have ended."""

    def ended() -> bool:
        runs = stack.api.runs(TRANSFORM, 50)
        return len(runs) >= number and all(run.state in {"success", "failed"} for run in runs)

    eventually(ended, 300, state=lambda: stack.api.runs(TRANSFORM, 50))
    return stack.api.runs(TRANSFORM, 50)


def test_a_landing_starts_a_run(stack: Stack) -> None:
    land(stack, 0)
    (run,) = wait_for_runs(stack, 1)
    assert run.run_id.startswith("asset_triggered__")
    assert stack.api.task_states(TRANSFORM, run.run_id)["bronze.crypto_raw_model_build"] == "success"
    path = f"/assets/events?source_dag_id={TRANSFORM}&source_run_id={quote(run.run_id)}"
    events = stack.api.call("GET", path).json()["asset_events"]
    assert {event["name"]: event["extra"]["rows"] for event in events} == {
        "bronze_crypto_raw": 3,
        "silver_crypto_stage": 3,
        "gold_crypto_curated": 3,
    }


def test_a_task_reports_its_lineage(stack: Stack) -> None:
    """Airflow's provider and Cosmos do this alone, once a transport is set (docs/prometheus.md)."""
    job = "crypto_transform.silver.crypto_stage_model_build"

    def events() -> dict[str, dict[str, Any]]:
        written, _, _ = (stack.demo.local.state / LINEAGE).read_text().rpartition("\n")  # the last line may be half
        lines = written.splitlines()
        return {event["eventType"]: event for event in map(json.loads, lines) if event["job"]["name"] == job}

    eventually(lambda: {"START", "COMPLETE"} <= events().keys(), 120, state=lambda: list(events()))
    start, complete = events()["START"], events()["COMPLETE"]
    assert start["run"]["runId"] == complete["run"]["runId"]
    [warehouse] = {dataset["namespace"] for dataset in (*complete["inputs"], *complete["outputs"])}
    assert warehouse == f"duckdb://{stack.values['WAREHOUSE_DUCKDB_PATH']}"
    assert "crypto_lakehouse_bronze.crypto_raw" in tables(complete["inputs"])
    assert "crypto_lakehouse_silver.crypto_stage" in tables(complete["outputs"])


def test_prometheus_can_scrape_the_stack(stack: Stack) -> None:
    """The laptop's Airflow needs no login. tests/dags/test_pipeline_metrics.py tests the permissions."""
    response = httpx.get(f"{stack.api.base_url}/pipeline-health/metrics", timeout=60, trust_env=False)
    assert response.status_code == 200, response.text
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    rows = {sample.labels["layer"]: sample.value for sample in families[names.LAYER_ROWS].samples}
    assert rows == dict.fromkeys(LAYERS, 3)


def tables(datasets: list[dict[str, Any]]) -> set[str]:
    """Schema and table of each dataset; its name begins with the database."""
    return {dataset["name"].split(".", 1)[1] for dataset in datasets}


def test_a_landing_while_the_triggerer_is_away_starts_one_run_later(stack: Stack) -> None:
    stack.demo.control.stop(TRIGGERER)
    land(stack, 100)
    stack.demo.control.start(TRIGGERER)
    newest, _ = wait_for_runs(stack, 2)
    assert stack.api.task_states(TRANSFORM, newest.run_id)["bronze.crypto_raw_model_build"] == "success"
