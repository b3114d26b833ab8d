"""A landing starts `crypto_transform`: with a real scheduler and triggerer, which may be away for a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from rich.console import Console

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
from include.settings import SimulatorSettings
from tests.laptop_stack import Stack, eventually, local_settings

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(900)]

TRIGGERER = "airflow-triggerer"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Airflow and S3, without producer and consumer. The transform starts when something has landed."""
    changes = {"transform_schedule": "", "broker": "built-in"}
    local = local_settings(tmp_path_factory.mktemp("stack")).model_copy(update=changes)
    demo = Demo(local, ProcessControl(local.state), Console(stderr=True))
    check_ports(local)
    try:
        values = start_servers(demo)
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
    records = [place | {"_offset": offset + n} | json.loads(encode(quote)) for n, quote in enumerate(quotes)]
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


def test_a_landing_while_the_triggerer_is_away_starts_one_run_later(stack: Stack) -> None:
    stack.demo.control.stop(TRIGGERER)
    land(stack, 100)
    stack.demo.control.start(TRIGGERER)
    newest, _ = wait_for_runs(stack, 2)
    assert stack.api.task_states(TRANSFORM, newest.run_id)["bronze.crypto_raw_model_build"] == "success"
