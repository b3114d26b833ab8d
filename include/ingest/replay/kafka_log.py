"""The topic in Kafka, as replay needs it: sends a message, and looks for a message that was sent."""

from __future__ import annotations

from time import monotonic

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from include.ingest.reading import queue_config
from include.ingest.replay.choice import dead_letter_id
from include.ingest.replay.replay import SEND_TIME, RefusedMessageError
from include.ingest.runs import readable
from include.ingest.topic import connected
from include.landing.dead_letter import DeadLetter
from include.reasons import reason_of
from include.settings import KafkaSettings

REPLAY_HEADER = "replay-of"
"""Header of a replayed message: topic/partition/offset of the dead letter."""
NO_LIMIT = 1_000_000_000
"""librdkafka's largest `message.max.bytes`: the topic decides, since it took the message once."""
READER_BYTES = 2**26
"""Bounds the queue of the client that searches the topic, as `CONSUMER_MAX_BUFFER_BYTES` does. Without it the client
holds 64 MB and a fetch of 50 MB."""
SEARCH_SECONDS = 60.0
"""Time limit of reading one partition to look for a message."""
REFUSED_MESSAGE = frozenset({
    KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP,
})  # fmt: skip
"""Errors that concern only one message: Kafka may take the next message."""


class KafkaTopic:
    """The topic on a broker: a `Topic` of replay."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer = connected(Producer, self.producer_config(kafka))

    @staticmethod
    def producer_config(kafka: KafkaSettings) -> dict[str, str | int | float | bool]:
        """Our values replace those of KAFKA_OPTIONS: a message sent after its lease could be sent twice."""
        timeout = int(SEND_TIME.total_seconds() * 1000)
        # A message may have fitted into the topic only because its producer compressed it.
        return (
            {"compression.type": "gzip"}
            | kafka.client_config()
            | {
                "message.max.bytes": NO_LIMIT,
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": timeout,
                "delivery.timeout.ms": timeout,  # another name of the same setting; librdkafka uses the last value
            }
        )

    def send(self, dead_letter: DeadLetter) -> None:
        """Send the message within `SEND_TIME` or never."""
        name = dead_letter_id(dead_letter)
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        headers: list[tuple[str, str | bytes | None]] = [*dead_letter.headers, _replay_header(dead_letter)]
        try:
            self._producer.produce(
                dead_letter.topic, dead_letter.payload, dead_letter.key, headers=headers, on_delivery=delivered
            )
        except KafkaException as error:
            failures.append(error.args[0])
        if self._producer.flush(SEND_TIME.total_seconds() + 10):  # librdkafka checks time-outs once a second
            self._producer.purge()  # otherwise the flush of the next dead letter could send it
            raise KafkaException(f"{name} was not acknowledged: timed out")
        for failure in failures:
            if failure.code() in REFUSED_MESSAGE:
                raise RefusedMessageError(f"{name}: {reason_of(failure)}")
            raise KafkaException(f"{name} was not acknowledged: {reason_of(failure)}")

    def _reader(self) -> Consumer:
        return connected(
            Consumer,
            queue_config(READER_BYTES)
            | self._kafka.client_config()
            | {"group.id": f"{self._kafka.group}-replay", "enable.auto.commit": False, "auto.offset.reset": "error"},
        )

    def _watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        """Low and high watermark of each partition."""
        reader = self._reader()
        try:
            partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
            return {
                number: reader.get_watermark_offsets(TopicPartition(topic, number), timeout=10) for number in partitions
            }
        finally:
            reader.close()

    def ends(self, name: str) -> dict[int, int]:
        """High watermark of each partition."""
        return {partition: high for partition, (_, high) in self._watermarks(name).items()}

    def holds(self, dead_letter: DeadLetter, since: dict[int, int]) -> bool:
        """Look for the replayed message between the ends `since` and the present ends.

        A message that retention has deleted is not found, so it would be sent again.
        """
        reader = self._reader()
        try:
            for partition, (low, end) in self._watermarks(dead_letter.topic).items():
                start = TopicPartition(dead_letter.topic, partition, max(low, since.get(partition, 0)))
                if start.offset < end and self._has_header(reader, start, end, _replay_header(dead_letter)):
                    return True
        finally:
            reader.close()
        return False

    @staticmethod
    def _has_header(reader: Consumer, start: TopicPartition, end: int, header: tuple[str, bytes]) -> bool:
        """Whether a message from `start` up to `end` has the header."""
        reader.assign([start])
        deadline = monotonic() + SEARCH_SECONDS
        while monotonic() < deadline:
            message = reader.poll(1.0)
            if message is None:
                position = reader.position([start])[0].offset
                if position != OFFSET_INVALID and position >= end:
                    return False
                continue
            if message.error():
                raise KafkaException(message.error())
            # Headers that cannot be read are not ours: their names are not UTF-8.
            if header in (readable(message.headers, "headers", []) or []):
                return True
            if (message.offset() or 0) >= end - 1:
                return False
        raise KafkaException(f"{start.topic}/{start.partition} could not be read up to {end} to look for {header[1]!r}")


def _replay_header(dead_letter: DeadLetter) -> tuple[str, bytes]:
    return REPLAY_HEADER, dead_letter_id(dead_letter).encode()
