"""The counters of consumer and producer. /metrics, CloudWatch and the logs read the same counters."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from math import inf
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

CONSUMER, PRODUCER = "lakehouse_consumer", "lakehouse_producer"
"""First part of each metric's name."""
UPLOAD_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SIZE_BUCKETS = (1, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000, 100_000)


@dataclass(slots=True)
class Window:
    """Counts of a period: since the last publication to CloudWatch, or since the start of the process.

    `stopped` is the largest number of stopped partitions in it.
    """

    started: float
    messages: int = 0
    rejected: int = 0
    batches: int = 0
    errors: int = 0
    stopped: int = 0
    durations: Tally[float] = field(default_factory=Tally)
    sizes: Tally[float] = field(default_factory=Tally)

    @property
    def seconds(self) -> float:
        """Length of the window so far."""
        return monotonic() - self.started


class Distribution:
    """Counts the values up to each of some bounds and above the last; also keeps their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = (*bounds, inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """As a Prometheus histogram: the count of a bound includes those of all smaller bounds."""
        buckets = list(zip(map(floatToGoString, self._bounds), accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)


class ConsumerMetrics(Collector):
    """Counters of one consumer process. Any thread may call.

    Numbers that change with every batch are plain numbers, which a scrape reads. With prometheus_client's own counters
    and histograms they would take a fifth of the Python time of a small batch.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._lock = threading.Lock()
        self._durations, self._sizes = Distribution(UPLOAD_BUCKETS), Distribution(SIZE_BUCKETS)
        self._window = Window(monotonic())
        self.total = Window(monotonic())
        self._now_stopped = 0
        self.buffered_bytes = 0
        self.puts_in_flight = 0
        counter = partial(Counter, namespace=CONSUMER, registry=self.registry)
        self.rejected = counter("messages_rejected", "Rejected messages, by class.", ["error_class"])
        self.batches_found = counter("batches_found", "Ranges that another attempt had landed already.")
        self.errors = counter("upload_errors", "Requests to S3 that failed; each is repeated.", ["error"])
        self.conflicts = counter("put_conflicts", "Answers 409: another write of the same object was in progress.")
        self.publish_errors = counter("cloudwatch_errors", "Failed publications to CloudWatch.")
        gauge = partial(Gauge, namespace=CONSUMER, registry=self.registry)
        self.partitions = gauge("partitions_assigned", "Partitions assigned.")
        self._stopped = gauge("partitions_stopped", "Partitions that need an operator.")
        self.paused = gauge("paused", "1 while reading is paused because S3 does not keep up.")

    def collect(self) -> Iterator[Metric]:
        """The plain numbers, for a scrape."""
        prefix = f"{CONSUMER}_"
        with self._lock:
            messages, batches = self.total.messages, self.total.batches
            durations = self._durations.family(prefix + "upload_seconds", "From a PUT's first attempt to its success.")
            sizes = self._sizes.family(prefix + "batch_records", "Records of a data object.")
        landed = "Records landed in S3, rejected ones included."
        yield CounterMetricFamily(prefix + "messages_landed", landed, messages)
        yield CounterMetricFamily(prefix + "batches_uploaded", "Data objects written.", batches)
        yield durations
        yield sizes
        yield GaugeMetricFamily(prefix + "buffered_bytes", "Bytes of messages in memory.", self.buffered_bytes)
        yield GaugeMetricFamily(prefix + "puts_in_flight", "PUTs under way.", self.puts_in_flight)

    def landed(self, records: int, rejected_classes: list[str]) -> None:
        """Count a durable range of `records` offsets; `rejected_classes` has an entry for each of its rejects."""
        for name in rejected_classes:
            self.rejected.labels(name).inc()
        with self._lock:
            for window in (self._window, self.total):
                window.messages += records
                window.rejected += len(rejected_classes)

    def uploaded(self, records: int, seconds: float) -> None:
        """Count a data object that was written."""
        with self._lock:
            self._durations.add(seconds)
            self._sizes.add(records)
            self._window.durations[_two_digits(seconds)] += 1
            self._window.sizes[float(records)] += 1
            for window in (self._window, self.total):
                window.batches += 1

    def failed(self, error: str) -> None:
        """Count a request to S3 that failed and will be repeated."""
        self.errors.labels(error).inc()
        with self._lock:
            for window in (self._window, self.total):
                window.errors += 1

    def stopped(self, partitions: int) -> None:
        """Take the present number of stopped partitions."""
        with self._lock:
            self._stopped.set(partitions)
            self._now_stopped = partitions
            self._window.stopped = max(self._window.stopped, partitions)

    def take_window(self) -> Window:
        """The numbers since the last call."""
        with self._lock:
            window, self._window = self._window, Window(monotonic(), stopped=self._now_stopped)
        return window

    def give_back(self, window: Window) -> None:
        """Add a window that could not be published to the present window."""
        with self._lock:
            present = self._window
            present.started = window.started
            present.messages += window.messages
            present.rejected += window.rejected
            present.batches += window.batches
            present.errors += window.errors
            present.stopped = max(present.stopped, window.stopped)
            present.durations.update(window.durations)
            present.sizes.update(window.sizes)


def _two_digits(seconds: float) -> float:
    """Two significant digits, so that the uploads of a minute have few distinct values."""
    return float(f"{seconds:.1e}")


class ProducerMetrics:
    """Counters of one producer process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace=PRODUCER, registry=self.registry)
        self.sent = counter("messages_sent", "Messages handed to Kafka.")
        self.delivered = counter("messages_delivered", "Messages that Kafka acknowledged.")
        self.failed = counter("messages_failed", "Messages that Kafka refused for good.")
        self.unchanged = counter("quotes_unchanged", "Quotes not sent again because nothing changed.")
        self.unusable = counter("quotes_unusable", "Quotes that a poll did not bring in a usable form.", ["symbol"])
        self.source_errors = counter("source_errors", "Failed polls of the source.", ["error"])
        gauge = partial(Gauge, namespace=PRODUCER, registry=self.registry)
        self.last_quote = gauge("last_quote_timestamp_seconds", "Newest quote time sent.")
