"""Reads single records of a partition, with Kafka's times of the records before them. It joins no group."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LogEntry:
    """The log at an offset. `record` is the first record at or after it, None if there is no such record.

    `times` are Kafka's times (ms) by offset: of `record`, and of the records with which a batch that holds it can
    begin. `value` is the record's.
    """

    begin: int
    end: int
    record: int | None
    times: dict[int, int]
    value: bytes | None


class Log(Protocol):
    """Kafka, as `where` needs it."""

    def entry(self, partition: int, offset: int) -> LogEntry:
        """The log at an offset."""


class KafkaLog:
    """The topic by a consumer without membership; `batch_records` is the maximum of records in an object."""

    def __init__(self, consumer: Consumer, topic: str, batch_records: int) -> None:
        self._consumer = consumer
        self._topic = topic
        self._most = batch_records

    def entry(self, partition: int, offset: int) -> LogEntry:
        """See `LogEntry`.

        Raises:
            KafkaException: Kafka does not answer.
        """
        place = TopicPartition(self._topic, partition)
        begin, end = self._consumer.get_watermark_offsets(place, timeout=SECONDS)
        if not begin <= offset < end:
            return LogEntry(begin, end, None, {}, None)
        place.offset = max(begin, offset - self._most + 1)
        self._consumer.assign([place])
        times: dict[int, int] = {}
        deadline = monotonic() + SECONDS
        try:
            while monotonic() < deadline:
                for message in self._consumer.consume(500, 1.0):
                    fault = message.error()
                    if fault is not None and fault.code() == KafkaError._PARTITION_EOF:
                        return LogEntry(begin, end, None, times, None)
                    if fault is not None:
                        raise KafkaException(fault)
                    own = message.offset() or 0
                    times[own] = message.timestamp()[1]
                    if own >= offset:
                        return LogEntry(begin, end, own, times, message.value())
        finally:
            self._consumer.unassign()
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
