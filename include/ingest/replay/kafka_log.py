"""The topic on a broker, as replay needs it."""

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

from include.ingest.replay.choice import letter_id
from include.ingest.replay.replay import SEND_TIME, RefusedLetterError
from include.landing.dead_letter import DeadLetter
from include.settings import KafkaSettings

REPLAY_HEADER = "replay-of"
"""Header of a replayed message: topic/partition/offset of the dead letter."""
SEARCH_SECONDS = 60.0
"""Reading a partition to look for a message takes no longer."""
REFUSED_MESSAGE = frozenset({
    KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP,
})  # fmt: skip
"""Errors of one message: the next one may be taken."""


class KafkaTopic:
    """The topic on a broker."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer = Producer(self.producer_config(kafka))

    @staticmethod
    def producer_config(kafka: KafkaSettings) -> dict[str, str | int | float | bool]:
        """Ours win over KAFKA_OPTIONS: what was sent after its lease might be sent twice."""
        timeout = int(SEND_TIME.total_seconds() * 1000)
        return kafka.client_config() | {
            "enable.idempotence": True,
            "acks": "all",
            "message.timeout.ms": timeout,
            "delivery.timeout.ms": timeout,  # the same by another name; the last one would win
        }

    def send(self, letter: DeadLetter) -> None:
        """Send the message within `SEND_TIME` or never."""
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        headers: list[tuple[str, str | bytes | None]] = [
            *letter.header_pairs(),
            (REPLAY_HEADER, letter_id(letter).encode()),
        ]
        try:
            self._producer.produce(
                letter.topic, letter.payload_bytes(), letter.key_bytes(), headers=headers, on_delivery=delivered
            )
        except KafkaException as error:  # librdkafka refuses what is larger than its message.max.bytes
            failures.append(error.args[0])
        if self._producer.flush(SEND_TIME.total_seconds() + 10):  # librdkafka looks for what timed out once a second
            self._producer.purge()  # or the next letter's flush might send it
            raise KafkaException(f"{letter_id(letter)} was not acknowledged: timed out")
        for failure in failures:
            if failure.code() in REFUSED_MESSAGE:
                raise RefusedLetterError(f"{letter_id(letter)}: {failure.str()}")
            raise KafkaException(f"{letter_id(letter)} was not acknowledged: {failure}")

    def _reader(self) -> Consumer:
        return Consumer(
            self._kafka.client_config()
            | {"group.id": f"{self._kafka.group}-replay", "enable.auto.commit": False, "auto.offset.reset": "error"}
        )

    def _log_ranges(self, topic: str) -> dict[int, tuple[int, int]]:
        """Each partition's low and high watermark."""
        reader = self._reader()
        try:
            partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
            return {p: reader.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions}
        finally:
            reader.close()

    def ends(self, topic: str) -> dict[int, int]:
        """Each partition's high watermark."""
        return {partition: high for partition, (_, high) in self._log_ranges(topic).items()}

    def holds(self, letter: DeadLetter, since: dict[int, int]) -> bool:
        """Look for the replayed message between these ends and the present ones.

        What retention has deleted of that is not known: a message that was there would be sent again.
        """
        wanted = (REPLAY_HEADER, letter_id(letter).encode())
        reader = self._reader()
        try:
            for partition, (low, end) in self._log_ranges(letter.topic).items():
                start = max(low, since.get(partition, 0))
                if start < end and self._finds(reader, TopicPartition(letter.topic, partition, start), end, wanted):
                    return True
        finally:
            reader.close()
        return False

    @staticmethod
    def _finds(reader: Consumer, start: TopicPartition, end: int, wanted: tuple[str, bytes]) -> bool:
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
            if wanted in (message.headers() or []):
                return True
            if (message.offset() or 0) >= end - 1:
                return False
        raise KafkaException(f"{start.topic}/{start.partition} could not be read up to {end} to look for {wanted[1]!r}")
