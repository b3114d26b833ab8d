"""Time and size of Pipeline Health with seven days of five-minute data, from the cache and cold.

    .venv/bin/python -m benchmarks.page

The AWS emulator holds the state objects of a busy pipeline (72 data tests with 24 runs, three coins, past alerts) and
the numbers of CloudWatch. A page is requested from the app itself, without a network. `first` is the first page of a
new app, which also opens its clients. `cold` reads S3 and CloudWatch again for the range of 7 d, `cached` reads neither
but renders, `shared` gets the rendering of another reader. `read_model` reads as `cold` does, and renders nothing.
Prints its figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures, Values

BUCKET = "page"
RUNS = 50


@contextmanager
def emulator() -> Iterator[None]:
    """The AWS emulator with the page's data; this process's settings point at it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"AIRFLOW_HOME": folder, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR", "S3_BUCKET": BUCKET}
        from include.local.emulator import CREDENTIALS
        from tests.airflow_connections import aws_connection
        from tests.servers import aws_server

        os.environ |= CREDENTIALS | {"AWS_DEFAULT_REGION": "us-east-1"}
        with aws_server(Path(folder)) as endpoint:
            os.environ |= {"AWS_ENDPOINT_URL": endpoint, "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(endpoint)}
            fill()
            yield


def fill() -> None:
    """Write the state objects, and the numbers of seven days."""
    import boto3

    from include.catalogue import LAYERS
    from include.monitoring.alerts.model import AlertState
    from include.monitoring.alerts.store import S3AlertStore
    from include.settings import StorageSettings
    from include.state import judged, kpis, layer_state, past_alerts, test_runs
    from include.state.judged import JudgedConditions
    from include.state.kpis import Kpis
    from include.state.past_alerts import PastAlert
    from tests.unit.monitoring.page import states

    now, s3, storage = datetime.now(UTC), boto3.client("s3"), StorageSettings(bucket=BUCKET)
    s3.create_bucket(Bucket=BUCKET)
    for layer in LAYERS:
        state = states.layer(layer).state
        assert state is not None
        layer_state.write(s3, storage, state)
        runs = {
            f"test.{layer}.{number}": states.runs_of(f"assert_a_rule_of_{layer}_{number}", "p" * 20 + "fppp", layer)
            for number in range(24)
        }
        test_runs.add(s3, storage, f"crypto_transform.{layer}.table", runs, states.NOW)
    kpis.write(s3, storage, Kpis(now, tuple(states.coin(symbol) for symbol in ("BTC", "ETH", "XRP")), states.RUN))
    judged.write(s3, storage, JudgedConditions(now, states.WELL))
    S3AlertStore(s3, storage).save(AlertState({"kafka_lag": states.alert("kafka_lag")}, ()), None)
    hour = timedelta(hours=1)
    over = [
        PastAlert("kafka_lag", "kafka_lag", "error", "Kafka lag is high", now - (count + 1) * hour, now - count * hour)
        for count in range(50)
    ]
    past_alerts.add(s3, storage, over, now)
    publish(now)


def publish(now: datetime) -> None:
    """One number for each five minutes of seven days and each line of the charts."""
    import boto3

    from include.catalogue import METRICS, dimension_values
    from include.monitoring.page.trends import LINES
    from include.settings import MonitorSettings

    cloudwatch, settings = boto3.client("cloudwatch"), MonitorSettings()
    times = [now - timedelta(minutes=5 * count) for count in range(7 * 288)]
    for metric, layer in sorted({(line.metric, line.layer) for line in LINES}, key=str):
        dimensions = dimension_values(METRICS[metric], settings.environment, layer)
        named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
        for begin in range(0, len(times), 500):
            data: Any = [
                {
                    "MetricName": metric,
                    "Dimensions": named,
                    "Timestamp": at,
                    "Value": 7.0 + at.minute,
                    "Unit": METRICS[metric].unit,
                }
                for at in times[begin : begin + 500]
            ]
            cloudwatch.put_metric_data(Namespace=settings.namespace, MetricData=data)


def measure(runs: int) -> tuple[int, dict[str, list[float]]]:
    """The bytes of the first load (page, style and script), and the seconds of each request, by kind."""
    from fastapi.testclient import TestClient

    from include.monitoring.page import read_model
    from include.on_airflow import health_page
    from include.settings import load
    from plugins.pipeline_health import page

    def client() -> TestClient:
        app = page.create_app()
        for route in app.routes:
            for dependency in getattr(getattr(route, "dependant", None), "dependencies", ()):
                app.dependency_overrides[dependency.call] = lambda: None
        return TestClient(app)

    def seconds_of_model(one: read_model.Reader) -> float:
        begin = time.perf_counter()
        one.read("7d")
        return time.perf_counter() - begin

    def seconds(one: TestClient) -> float:
        begin = time.perf_counter()
        response = one.get("/?range=7d")
        took = time.perf_counter() - begin
        assert response.status_code == 200
        assert "Cannot be read" not in response.text, response.text[:2000]
        return took

    first = client()
    size = sum(len(first.get(path).content) for path in ("/?range=7d", "/page.css", "/page.js"))
    shared = [seconds(first) for _ in range(runs)]
    page.RENDERED_SECONDS = 0
    read_model.STATE_SECONDS = read_model.TREND_SECONDS = 1e9
    warm = client()
    seconds(warm)
    cached = [seconds(warm) for _ in range(runs)]
    read_model.STATE_SECONDS = read_model.TREND_SECONDS = 0
    cold = client()
    seconds(cold)
    firsts = [seconds(client()) for _ in range(runs)]
    by_kind = {"first": firsts, "cold": [seconds(cold) for _ in range(runs)], "cached": cached, "shared": shared}
    reader = read_model.Reader(health_page.sources(load()))
    seconds_of_model(reader)
    return size, by_kind | {"read_model": [seconds_of_model(reader) for _ in range(runs)]}


def figures(runs: int = RUNS) -> Figures:
    """Bytes of the first load, p50 and p95 of each kind of request, and what the cache saves."""
    logging.disable(logging.INFO)
    with emulator():
        size, by_kind = measure(runs)
    values: Values = {"first_load_bytes": size}
    for kind, times in by_kind.items():
        p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        values |= {f"{kind}.p50_seconds": round(p50, 4), f"{kind}.p95_seconds": round(p95, 4)}
    for kind, other in (("first", "cold"), ("cached", "cold"), ("shared", "cached"), ("read_model", "cold")):
        values[f"{kind}_over_{other}"] = statistics.median(by_kind[kind]) / statistics.median(by_kind[other])
    return Figures(values)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    print(json.dumps(figures(parser.parse_args().runs).values, indent=2))


if __name__ == "__main__":
    main()
