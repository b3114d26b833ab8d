"""CloudWatch distributions, /healthz, /metrics and log lines."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from time import monotonic, sleep

import httpx
import pytest
from confluent_kafka import Producer as KafkaProducer
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from include.catalogue import CONSUMER_METRICS
from include.ingest import logs
from include.ingest.cloudwatch import MAX_VALUES, Publisher, metric_data
from include.ingest.health import Health, HealthServer
from include.ingest.metrics import UPLOAD_BUCKETS, ConsumerMetrics
from include.settings import AwsSettings, MonitorSettings
from tests.servers import free_port


def test_every_metric_of_the_catalogue_is_published_and_nothing_else() -> None:
    metrics = ConsumerMetrics()
    metrics.landed(100, ["not_json"])
    metrics.uploaded(99, 0.0421)
    metrics.failed("GenericError")
    data = metric_data(metrics.take_window(), "test", datetime.now(UTC))
    assert {datum["MetricName"]: datum["Unit"] for datum in data} == {
        metric.name: metric.unit for metric in CONSUMER_METRICS
    }
    values = {datum["MetricName"]: datum.get("Value") for datum in data}
    assert (values["MessagesConsumed"], values["MessagesRejected"], values["UploadErrors"]) == (100, 1, 1)


def test_counts_are_sent_as_zero_and_distributions_not_at_all_when_idle() -> None:
    data = metric_data(ConsumerMetrics().take_window(), "test", datetime.now(UTC))
    assert {datum["MetricName"] for datum in data if datum["Value"] == 0} == {
        "MessagesConsumed", "MessagesRejected", "BatchesUploaded", "UploadErrors", "Throughput",
    }  # fmt: skip


def test_a_distribution_keeps_its_count_and_its_maximum_within_the_limit() -> None:
    metrics = ConsumerMetrics()
    for number in range(1, 5000):
        metrics.uploaded(number, number / 100)
    (sizes,) = [d for d in metric_data(metrics.take_window(), "t", datetime.now(UTC)) if d["MetricName"] == "BatchSize"]
    assert len(sizes["Values"]) == len(sizes["Counts"]) <= MAX_VALUES
    assert sum(sizes["Counts"]) == 4999
    assert max(sizes["Values"]) == 4999


def test_durations_are_published_to_two_digits() -> None:
    metrics = ConsumerMetrics()
    for seconds in (0.01234, 0.01239, 0.5, 12.34):
        metrics.uploaded(100, seconds)
    data = metric_data(metrics.take_window(), "t", datetime.now(UTC))
    (durations,) = [datum for datum in data if datum["MetricName"] == "UploadDuration"]
    assert dict(zip(durations["Values"], durations["Counts"], strict=True)) == {0.012: 2, 0.5: 1, 12.0: 1}


@given(st.lists(st.floats(0, 200) | st.sampled_from(UPLOAD_BUCKETS)))
def test_a_scrape_reads_what_prometheus_itself_would_count(seconds: list[float]) -> None:
    metrics, theirs = ConsumerMetrics(), CollectorRegistry()
    histogram = Histogram("lakehouse_consumer_upload_seconds", "", buckets=UPLOAD_BUCKETS, registry=theirs)
    for value in seconds:
        metrics.uploaded(100, value)
        metrics.landed(101, ["not_json"])
        histogram.observe(value)
    samples = [sample for family in theirs.collect() for sample in family.samples]
    for sample in (sample for sample in samples if not sample.name.endswith("_created")):
        assert metrics.registry.get_sample_value(sample.name, sample.labels) == sample.value
    counts = {"messages_landed_total": 101 * len(seconds), "batches_uploaded_total": len(seconds)}
    for name, count in counts.items():
        assert metrics.registry.get_sample_value(f"lakehouse_consumer_{name}") == count
    for bound, count in {"50.0": 0, "100.0": len(seconds)}.items():
        assert metrics.registry.get_sample_value("lakehouse_consumer_batch_records_bucket", {"le": bound}) == count


def test_a_cloudwatch_that_is_away_loses_no_count_and_delays_nobody() -> None:
    metrics = ConsumerMetrics()
    aws = AwsSettings(endpoint_url="http://127.0.0.1:9")
    publisher = Publisher(metrics, aws, MonitorSettings(), seconds=0.1)
    publisher.start()
    before = monotonic()
    metrics.landed(7, [])
    assert monotonic() - before < 0.1
    sleep(1.0)
    publisher.stop(15)
    assert metrics.take_window().messages == 7
    assert metrics.registry.get_sample_value("lakehouse_consumer_cloudwatch_errors_total") or 0 > 0


def test_live_and_ready_differ() -> None:
    metrics = ConsumerMetrics()
    health = Health(live=True, ready=False, problems=["S3 has failed for 3 s"])
    server = HealthServer("127.0.0.1", 0, metrics.registry, lambda: health)
    try:
        base = f"http://127.0.0.1:{server.port}"
        ready, live = httpx.get(f"{base}/healthz"), httpx.get(f"{base}/healthz/live")
        assert (ready.status_code, live.status_code) == (503, 200)
        assert ready.json()["problems"] == ["S3 has failed for 3 s"]
        assert "lakehouse_consumer_messages_landed_total 0.0" in httpx.get(f"{base}/metrics").text
        assert httpx.get(f"{base}/other").status_code == 404
    finally:
        server.close()


@pytest.fixture
def out() -> io.StringIO:
    """Where the log goes."""
    stream = io.StringIO()
    logs.configure(stream)
    return stream


def test_a_log_line_is_json_with_time_level_and_message(out: io.StringIO) -> None:
    logs.logger("consumer").warning("PUT failed", key="k", error="503")
    line = json.loads(out.getvalue())
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() is not None
    assert line == {"level": "warning", "message": "PUT failed", "component": "consumer", "key": "k", "error": "503"}


def test_librdkafkas_messages_are_log_lines_like_ours(out: io.StringIO) -> None:
    producer = KafkaProducer({"bootstrap.servers": f"127.0.0.1:{free_port()}", "logger": logs.LIBRDKAFKA})
    deadline = monotonic() + 20
    while not out.getvalue() and monotonic() < deadline:
        producer.poll(0.2)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines
    assert {line["component"] for line in lines} == {"librdkafka"}
    assert "Connection refused" in lines[0]["message"]
