"""The steps of the monitor DAG, without Airflow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NoReturn

import boto3
import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from include.monitoring.alerts.model import AlertState, Notice, OpenAlert
from include.monitoring.alerts.store import S3AlertStore
from include.monitoring.checks import cloudwatch
from include.monitoring.checks.baseline import Baseline
from include.monitoring.checks.cloudwatch import Datum
from include.monitoring.checks.judge import Subject, Verdict
from include.monitoring.checks.measurements import LayersMeasurement
from include.on_airflow import connections, monitor
from include.settings import StorageSettings
from include.state import judged, monitor_numbers, past_alerts
from include.state.judged import Judged
from include.state.monitor_numbers import Number
from tests.unit.monitoring.measured import EVERYTHING

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("blind", "variable", "count"),
    [
        ((), None, 0),
        ((), '{"kafka_lagg": 5000}', 1),
        (("kafka", "layers"), None, 2),
        (("kafka", "layers"), "{", 3),
    ],
)
def test_published_and_checked_number_of_blind_sources_are_equal(
    monkeypatch: pytest.MonkeyPatch, blind: tuple[str, ...], variable: str | None, count: int
) -> None:
    published: list[Datum] = []
    monkeypatch.setenv("S3_BUCKET", "lake")
    monkeypatch.setattr(connections, "cloudwatch_client", lambda: None)
    monkeypatch.setattr(connections, "page_s3_client", lambda: None)
    monkeypatch.setattr(cloudwatch, "publish", lambda *arguments: published.extend(arguments[3]))
    monkeypatch.setattr(monitor_numbers, "write", lambda *_: None)
    measured = replace(EVERYTHING, **dict.fromkeys(blind))
    verdicts, refusal = monitor.publish_and_judge(measured, {}, variable)
    (verdict,) = (verdict for verdict in verdicts if verdict.condition == "monitor_blind")
    assert not refusal
    assert {datum.metric: datum.value for datum in published}["BlindSources"] == count
    sources = f"{count} source" if count == 1 else f"{count} sources"
    assert (verdict.value, verdict.outcome) == (sources, "breached" if count else "ok")


@pytest.mark.servers
def test_undelivered_notices_are_measured_with_the_layers(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    alert = OpenAlert("kafka_lag", "kafka_lag", "error", "Kafka lag is high", NOW, NOW)
    refused = Notice("a", "start", alert, NOW, attempts=1, last_error="SMTPException: no")
    store = S3AlertStore(boto3.client("s3"), StorageSettings(bucket=bucket))
    store.save(AlertState({alert.key: alert}, (refused, Notice("b", "start", alert, NOW))), None)
    measurement = monitor.measure_source("layers")
    assert isinstance(measurement, LayersMeasurement)
    assert (measurement.undelivered, measurement.undelivered_error) == (1, "SMTPException: no")


def test_a_broken_state_object_is_a_fault_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", "lake")
    monkeypatch.setattr(connections, "cloudwatch_client", lambda: None)
    monkeypatch.setattr(connections, "page_s3_client", lambda: None)
    monkeypatch.setattr(cloudwatch, "publish", lambda *_: None)
    monkeypatch.setattr(monitor_numbers, "write", lambda *_: None)
    assert EVERYTHING.layers
    layers = replace(EVERYTHING.layers, unreadable={"state/layers/silver.json": "s3://lake/... is not readable"})
    verdicts, _ = monitor.publish_and_judge(replace(EVERYTHING, layers=layers), {}, None)
    (blind,) = (verdict for verdict in verdicts if verdict.condition == "monitor_blind")
    assert blind.subjects == {"content of state objects": Subject("s3://lake/... is not readable")}


@pytest.mark.servers
def test_a_broken_alert_state_does_not_hide_the_layers(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    boto3.client("s3").put_object(Bucket=bucket, Key="state/alerts.json", Body=b"{")
    measurement = monitor.measure_source("layers")
    assert isinstance(measurement, LayersMeasurement)
    assert measurement.undelivered is None


@pytest.mark.servers
def test_every_verdict_of_a_run_is_kept_for_the_page(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a condition that nobody mails."""
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    monkeypatch.setattr(monitor, "move_back", lambda *_: None)
    before = datetime.now(UTC)
    unknown = Verdict("low_throughput", "unknown", "the monitor has watched for 1 of 3 periods", "< 3")
    monitor.update_alerts([unknown, Verdict("notices_undelivered", "breached", "2", "> 0")], "r")
    kept = judged.read(boto3.client("s3"), StorageSettings(bucket=bucket))
    assert kept is not None
    assert kept.at >= before
    assert kept.conditions == {
        "low_throughput": Judged("unknown", "the monitor has watched for 1 of 3 periods"),
        "notices_undelivered": Judged("breached", "2"),
    }


@pytest.mark.servers
def test_a_run_that_judged_nothing_makes_earlier_verdicts_unknown(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    monkeypatch.setattr(monitor, "move_back", lambda *_: None)
    monitor.update_alerts([Verdict("kafka_lag", "ok", "3", "> 1,000")], "r")
    monitor.update_alerts([], "r")
    kept = judged.read(boto3.client("s3"), StorageSettings(bucket=bucket))
    assert kept is not None
    assert kept.conditions.keys() == {"monitor_blind"}


@pytest.fixture
def for_prometheus(bucket: str, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    """The bucket into which the monitor writes its numbers; CloudWatch takes everything."""
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "page_s3_client", lambda: boto3.client("s3"))
    monkeypatch.setattr(connections, "cloudwatch_client", lambda: None)
    monkeypatch.setattr(cloudwatch, "publish", lambda *_: None)
    return StorageSettings(bucket=bucket)


@pytest.mark.servers
def test_the_numbers_and_thresholds_of_a_run_are_kept(for_prometheus: StorageSettings) -> None:
    before = datetime.now(UTC)
    assert EVERYTHING.consumer
    learned = replace(EVERYTHING.consumer, baseline=Baseline(40.0, "learned"))
    monitor.publish_and_judge(replace(EVERYTHING, consumer=learned), {}, '{"kafka_lag": 5000}')
    kept = monitor_numbers.read(boto3.client("s3"), for_prometheus)
    assert kept
    assert kept.at >= before
    assert {Number("SumOffsetLag", 12), Number("DataAge", 20, "silver"), Number("MessagesConsumed", 5)} < set(
        kept.numbers
    )
    assert not [number for number in kept.numbers if number.metric.startswith("LatencyTo")]
    assert (kept.thresholds["kafka_lag"], kept.thresholds["low_throughput"]) == (5000, 40)


@pytest.mark.servers
def test_a_number_that_is_not_known_is_not_kept(for_prometheus: StorageSettings) -> None:
    assert EVERYTHING.consumer
    silent = replace(EVERYTHING.consumer, windows={**EVERYTHING.consumer.windows, "MessagesConsumed": [5.0, 5.0, None]})
    monitor.publish_and_judge(replace(EVERYTHING, kafka=None, consumer=silent), {"kafka": "away"}, None)
    kept = monitor_numbers.read(boto3.client("s3"), for_prometheus)
    assert kept
    metrics = {number.metric for number in kept.numbers}
    assert {"ObjectsLastHour", "BlindSources", "MonitorHeartbeat"} < metrics
    assert not metrics & {"SumOffsetLag", "MessagesConsumed"}


@pytest.mark.servers
def test_numbers_of_a_run_that_cloudwatch_refused_say_so(
    for_prometheus: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutMetricData")

    monkeypatch.setattr(cloudwatch, "publish", refuse)
    _, refusal = monitor.publish_and_judge(EVERYTHING, {}, None)
    kept = monitor_numbers.read(boto3.client("s3"), for_prometheus)
    assert refusal
    assert kept
    values = {number.metric: number.value for number in kept.numbers}
    assert "MonitorHeartbeat" not in values
    assert values["BlindSources"] == 1


def test_checks_do_not_need_the_kept_numbers(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object) -> NoReturn:
        raise ClientError({"Error": {"Code": "SlowDown", "Message": "later"}}, "PutObject")

    monkeypatch.setenv("S3_BUCKET", "lake")
    for client in ("page_s3_client", "cloudwatch_client"):
        monkeypatch.setattr(connections, client, lambda: None)
    monkeypatch.setattr(cloudwatch, "publish", lambda *_: None)
    monkeypatch.setattr(monitor_numbers, "write", refuse)
    verdicts, refusal = monitor.publish_and_judge(EVERYTHING, {}, None)
    assert len(verdicts) > 1
    assert not refusal
    assert "Prometheus does not get these numbers" in caplog.text


@pytest.mark.servers
def test_an_alert_that_is_over_is_kept_for_the_page(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    monkeypatch.setattr(monitor, "move_back", lambda *_: None)
    monitor.update_alerts([Verdict("kafka_lag", "breached", "1,412 messages", "> 1,000")], "r")
    storage = StorageSettings(bucket=bucket)
    assert past_alerts.read(boto3.client("s3"), storage) == []
    monitor.update_alerts([Verdict("kafka_lag", "ok", "3 messages", "> 1,000")], "r")
    (over,) = past_alerts.read(boto3.client("s3"), storage)
    assert (over.key, over.value, over.cause) == ("kafka_lag", "1,412 messages", "")
    assert over.began_at <= over.ended_at


@pytest.mark.servers
def test_a_run_ends_the_alert_that_the_monitor_is_silent(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a laptop another process raises it."""
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    monkeypatch.setattr(monitor, "move_back", lambda *_: None)
    store = S3AlertStore(boto3.client("s3"), StorageSettings(bucket=bucket))
    silent = OpenAlert("monitor_silent", "monitor_silent", "error", "The monitor is silent", NOW, NOW)
    store.save(AlertState({silent.key: silent}, ()), None)
    (notice,) = monitor.update_alerts([Verdict("kafka_lag", "ok", "3 messages", "> 1,000")], "r")
    assert (notice.kind, notice.alert.key) == ("recovery", "monitor_silent")
    assert monitor.update_alerts([Verdict("kafka_lag", "ok", "3 messages", "> 1,000")], "r") == []
