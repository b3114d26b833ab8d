"""The metrics that the consumer publishes to CloudWatch."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Event
from time import monotonic, sleep
from typing import Any
from unittest.mock import MagicMock

import pytest
from botocore.exceptions import EndpointConnectionError

from include.catalogue import CONSUMER_METRICS
from include.ingest.background import Task
from include.ingest.cloudwatch import MAX_VALUES, Publisher, metric_data
from include.ingest.metrics import ConsumerMetrics
from include.settings import AwsSettings, MonitorSettings


@pytest.fixture
def metrics() -> ConsumerMetrics:
    return ConsumerMetrics()


def published(metrics: ConsumerMetrics) -> dict[str, dict[str, Any]]:
    """The data of the present window, by metric."""
    return {datum["MetricName"]: datum for datum in metric_data(metrics.take_window(), "test", datetime.now(UTC))}


def test_exactly_the_metrics_of_the_catalogue_are_published(metrics: ConsumerMetrics) -> None:
    metrics.landed(100, ["not_json"])
    metrics.uploaded(99, 0.0421)
    metrics.failed("GenericError")
    metrics.failed("GenericError")
    data = published(metrics)
    assert {name: datum["Unit"] for name, datum in data.items()} == {
        metric.name: metric.unit for metric in CONSUMER_METRICS
    }
    values = [
        data[name]["Value"] for name in ("MessagesConsumed", "MessagesRejected", "BatchesUploaded", "UploadErrors")
    ]
    assert values == [100, 1, 1, 2]
    assert (data["UploadDuration"]["Values"], data["BatchSize"]["Values"]) == ([0.042], [99])


def test_when_idle_counts_are_zero_and_distributions_absent(metrics: ConsumerMetrics) -> None:
    assert {name: datum["Value"] for name, datum in published(metrics).items()} == {
        "MessagesConsumed": 0, "MessagesRejected": 0, "BatchesUploaded": 0, "UploadErrors": 0, "Throughput": 0,
        "PartitionsStopped": 0,
    }  # fmt: skip


def test_a_partition_that_was_stopped_for_a_moment_is_published(metrics: ConsumerMetrics) -> None:
    metrics.stopped(2)
    metrics.stopped(1)
    assert published(metrics)["PartitionsStopped"]["Value"] == 2
    assert published(metrics)["PartitionsStopped"]["Value"] == 1
    metrics.stopped(0)
    assert published(metrics)["PartitionsStopped"]["Value"] == 1
    assert published(metrics)["PartitionsStopped"]["Value"] == 0


def test_a_thinned_distribution_keeps_count_and_maximum(metrics: ConsumerMetrics) -> None:
    for number in range(1, 5000):
        metrics.uploaded(number, number / 100)
    sizes = published(metrics)["BatchSize"]
    assert len(sizes["Values"]) == len(sizes["Counts"]) <= MAX_VALUES
    assert sum(sizes["Counts"]) == 4999
    assert max(sizes["Values"]) == 4999


def test_durations_are_published_to_two_digits(metrics: ConsumerMetrics) -> None:
    for seconds in (0.01234, 0.01239, 0.5, 12.34):
        metrics.uploaded(100, seconds)
    durations = published(metrics)["UploadDuration"]
    assert dict(zip(durations["Values"], durations["Counts"], strict=True)) == {0.012: 2, 0.5: 1, 12.0: 1}


def test_an_absent_cloudwatch_loses_no_count(metrics: ConsumerMetrics) -> None:
    publisher = Publisher(metrics, AwsSettings(endpoint_url="http://127.0.0.1:9"), MonitorSettings(), seconds=0.1)
    publisher.start()
    metrics.landed(7, [])
    deadline = monotonic() + 60
    while not metrics.registry.get_sample_value("lakehouse_consumer_cloudwatch_errors_total"):
        assert monotonic() < deadline
        sleep(0.01)
    publisher.stop(60)
    assert metrics.take_window().messages == 7


def test_a_publication_that_hangs_blocks_no_count(metrics: ConsumerMetrics) -> None:
    began, end, was_ended = Event(), Event(), list[bool]()

    def put(**_: object) -> None:
        began.set()
        was_ended.append(end.wait(60))
        raise EndpointConnectionError(endpoint_url="https://monitoring")

    publisher = Publisher(metrics, AwsSettings(), MonitorSettings(), seconds=60)
    metrics.landed(3, [])
    publication = Task("publication", lambda: publisher._publish(MagicMock(put_metric_data=put)))
    assert began.wait(60)
    metrics.landed(4, [])
    end.set()
    assert publication.done(60)
    assert was_ended == [True]
    assert metrics.take_window().messages == 7


class Parser:
    """Botocore's parser of one answer: it and the parser of its events refer to each other."""

    def __init__(self) -> None:
        self.events = self


@pytest.fixture
def rare_search() -> Iterator[None]:
    """No search for reference cycles but those that a test asks for, as in a consumer's first days."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("rare_search")
def test_a_publication_leaves_no_reference_cycles(metrics: ConsumerMetrics) -> None:
    parsers: list[weakref.ref[Parser]] = []

    def put(**_: object) -> None:
        parsers.append(weakref.ref(Parser()))

    Publisher(metrics, AwsSettings(), MonitorSettings(), seconds=60)._publish(MagicMock(put_metric_data=put))
    assert [parser() for parser in parsers] == [None]
