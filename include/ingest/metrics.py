"""Numbers of the consumer and the producer: kept once, read by /metrics, CloudWatch and the logs."""

from __future__ import annotations

import threading
from collections import Counter as Tally
from dataclasses import dataclass, field
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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


class ConsumerMetrics:
    """Counters of one consumer process. Any thread may call."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._window = Window(monotonic())
        self.started = monotonic()
        self.total = Window(self.started)
        names = {"registry": self.registry, "namespace": "lakehouse_consumer"}
        self.messages = Counter("messages_landed", "Records landed in S3, rejected ones included.", **names)  # type: ignore[arg-type]
        self.rejected = Counter("messages_rejected", "Rejected messages, by class.", ["error_class"], **names)  # type: ignore[arg-type]
        self.batches = Counter("batches_uploaded", "Data objects written.", **names)  # type: ignore[arg-type]
        self.found = Counter("batches_found", "Ranges that another attempt had landed already.", **names)  # type: ignore[arg-type]
        self.errors = Counter("upload_errors", "Requests to S3 that failed; each is repeated.", ["error"], **names)  # type: ignore[arg-type]
        self.duration = Histogram(
            "upload_seconds", "First attempt of a PUT until S3 had it.", buckets=UPLOAD_BUCKETS, **names  # type: ignore[arg-type]
        )  # fmt: skip
        self.size = Histogram("batch_records", "Records of a data object.", buckets=SIZE_BUCKETS, **names)  # type: ignore[arg-type]
        self.buffered = Gauge("buffered_bytes", "Bytes of messages in memory.", **names)  # type: ignore[arg-type]
        self.in_flight = Gauge("puts_in_flight", "PUTs under way.", **names)  # type: ignore[arg-type]
        self.partitions = Gauge("partitions_assigned", "Partitions assigned.", **names)  # type: ignore[arg-type]
        self.stopped = Gauge("partitions_stopped", "Partitions that need an operator.", **names)  # type: ignore[arg-type]
        self.paused = Gauge("paused", "1 while reading is paused because S3 does not keep up.", **names)  # type: ignore[arg-type]
        self.publish_errors = Counter("cloudwatch_errors", "Failed publications to CloudWatch.", **names)  # type: ignore[arg-type]

    def landed(self, records: int, rejected_classes: list[str]) -> None:
        """A range is durable: `records` offsets, of which some were rejected."""
        self.messages.inc(records)
        for name in rejected_classes:
            self.rejected.labels(name).inc()
        with self._lock:
            for window in (self._window, self.total):
                window.messages += records
                window.rejected += len(rejected_classes)

    def uploaded(self, records: int, seconds: float) -> None:
        """A data object was written."""
        self.batches.inc()
        self.duration.observe(seconds)
        self.size.observe(records)
        with self._lock:
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
