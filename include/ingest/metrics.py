"""Numbers of the consumer and the producer: kept once, read by /metrics, CloudWatch and the logs."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

NAMESPACE = "lakehouse_consumer"
UPLOAD_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SIZE_BUCKETS = (1, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000, 100_000)


@dataclass(slots=True)
class Window:
    """What happened since the last publication to CloudWatch."""

    started: float
    messages: int = 0
    rejected: int = 0
    batches: int = 0
    errors: int = 0
    durations: Tally[float] = field(default_factory=Tally)
    sizes: Tally[float] = field(default_factory=Tally)

    @property
    def seconds(self) -> float:
        """Length of the window so far."""
        return monotonic() - self.started


class Distribution:
    """How many values lie up to each of some bounds, and above them all, and the values' sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = (*bounds, inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """As Prometheus wants it: each bound counts what lies below it too."""
        buckets = list(zip(map(floatToGoString, self._bounds), accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)


class ConsumerMetrics(Collector):
    """Counters of one consumer process. Any thread may call.

    What changes with every batch is kept in plain numbers, which a scrape reads: prometheus_client's own counters and
    histograms cost a small batch a fifth of all that Python does for it.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._lock = threading.Lock()
        self._durations, self._sizes = Distribution(UPLOAD_BUCKETS), Distribution(SIZE_BUCKETS)
        self._window = Window(monotonic())
        self.started = monotonic()
        self.total = Window(self.started)
        names = {"registry": self.registry, "namespace": NAMESPACE}
        self.rejected = Counter("messages_rejected", "Rejected messages, by class.", ["error_class"], **names)  # type: ignore[arg-type]
        self.found = Counter("batches_found", "Ranges that another attempt had landed already.", **names)  # type: ignore[arg-type]
        self.errors = Counter("upload_errors", "Requests to S3 that failed; each is repeated.", ["error"], **names)  # type: ignore[arg-type]
        self.buffered_bytes = 0
        self.puts_in_flight = 0
        self.partitions = Gauge("partitions_assigned", "Partitions assigned.", **names)  # type: ignore[arg-type]
        self.stopped = Gauge("partitions_stopped", "Partitions that need an operator.", **names)  # type: ignore[arg-type]
        self.paused = Gauge("paused", "1 while reading is paused because S3 does not keep up.", **names)  # type: ignore[arg-type]
        self.publish_errors = Counter("cloudwatch_errors", "Failed publications to CloudWatch.", **names)  # type: ignore[arg-type]

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads of the plain numbers."""
        prefix = f"{NAMESPACE}_"
        with self._lock:
            messages, batches = self.total.messages, self.total.batches
            durations = self._durations.family(prefix + "upload_seconds", "First attempt of a PUT until S3 had it.")
            sizes = self._sizes.family(prefix + "batch_records", "Records of a data object.")
        landed = "Records landed in S3, rejected ones included."
        yield CounterMetricFamily(prefix + "messages_landed", landed, messages)
        yield CounterMetricFamily(prefix + "batches_uploaded", "Data objects written.", batches)
        yield durations
        yield sizes
        yield GaugeMetricFamily(prefix + "buffered_bytes", "Bytes of messages in memory.", self.buffered_bytes)
        yield GaugeMetricFamily(prefix + "puts_in_flight", "PUTs under way.", self.puts_in_flight)

    def landed(self, records: int, rejected_classes: list[str]) -> None:
        """A range is durable: `records` offsets, of which some were rejected."""
        for name in rejected_classes:
            self.rejected.labels(name).inc()
        with self._lock:
            for window in (self._window, self.total):
                window.messages += records
                window.rejected += len(rejected_classes)

    def uploaded(self, records: int, seconds: float) -> None:
        """A data object was written."""
        with self._lock:
            self._durations.add(seconds)
            self._sizes.add(records)
            self._window.durations[_two_digits(seconds)] += 1
            self._window.sizes[float(records)] += 1
            for window in (self._window, self.total):
                window.batches += 1

    def failed(self, error: str) -> None:
        """A request to S3 failed and will be repeated."""
        self.errors.labels(error).inc()
        with self._lock:
            for window in (self._window, self.total):
                window.errors += 1

    def take_window(self) -> Window:
        """Everything since the last call; counting starts anew."""
        with self._lock:
            window, self._window = self._window, Window(monotonic())
        return window

    def give_back(self, window: Window) -> None:
        """Count a window again that could not be published."""
        with self._lock:
            mine = self._window
            mine.started = window.started
            mine.messages += window.messages
            mine.rejected += window.rejected
            mine.batches += window.batches
            mine.errors += window.errors
            mine.durations.update(window.durations)
            mine.sizes.update(window.sizes)


def _two_digits(seconds: float) -> float:
    """Two significant digits, so that a minute of uploads has few distinct values."""
    return float(f"{seconds:.1e}")


class ProducerMetrics:
    """Counters of one producer process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = {"registry": self.registry, "namespace": "lakehouse_producer"}
        self.sent = Counter("messages_sent", "Messages handed to Kafka.", **names)  # type: ignore[arg-type]
        self.delivered = Counter("messages_delivered", "Messages that Kafka acknowledged.", **names)  # type: ignore[arg-type]
        self.failed = Counter("messages_failed", "Messages that Kafka refused for good.", **names)  # type: ignore[arg-type]
        self.unchanged = Counter("quotes_unchanged", "Quotes not sent again because nothing changed.", **names)  # type: ignore[arg-type]
        self.source_errors = Counter("source_errors", "Failed polls of the source.", ["error"], **names)  # type: ignore[arg-type]
        self.last_quote = Gauge("last_quote_timestamp_seconds", "Newest quote time sent.", **names)  # type: ignore[arg-type]
