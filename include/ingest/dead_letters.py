"""Dead letters: the rows of a batch's rejects, and putting chosen ones back on the topic.

Replay is idempotent. Each letter has a marker object under the state prefix, created
before its message is sent (with the log's ends at that moment) and completed after the
broker acknowledged it. A replay that was interrupted between the two looks for its
message on the topic, from those ends on, before it sends it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from time import monotonic

import msgspec
import obstore
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from include.ingest.protocol import Gap, Put, rows_to_land
from include.landing import body
from include.landing.dead_letter import DeadLetter, gap, rejected_message
from include.landing.layout import parse_key
from include.settings import KafkaSettings, StorageSettings

REPLAY_HEADER = "replay-of"
"""Header of a replayed message: topic/partition/offset of the dead letter."""
GAP_TEXT = "no record at these offsets: transaction markers, or records deleted before they were read"
SEND_SECONDS = 60.0
REFUSED_MESSAGE = frozenset({
    KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP,
})  # fmt: skip
"""Errors of one message: the next one may be taken."""


# --- written by the consumer --------------------------------------------------


def batch_rows(topic: str, put: Put) -> list[DeadLetter]:
    """The dead-letter rows of a batch: exactly the rejects inside its final range."""
    batch = put.batch
    rows: list[DeadLetter] = []
    for offset, row in rows_to_land(batch):
        part = batch.part_of(offset)
        index = offset - part.offset
        if isinstance(row, Gap):
            rows.append(gap(topic, put.partition, row.first, row.last, part.timestamps[index], GAP_TEXT))
        elif row is None:
            rows.append(
                rejected_message(
                    topic=topic,
                    partition=put.partition,
                    offset=offset,
                    timestamp=part.timestamps[index],
                    error_class="rejected_earlier",
                    error="another version of the consumer landed this range without the message; this one accepts it",
                    key=None,
                    value=None if part.lines is None else body.unsplice(body.line(part.lines, index)),
                    headers=None,
                )
            )
        else:
            rows.append(row)
    return rows


# --- read and replayed by an operator -----------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters: days are inclusive and those of the Kafka timestamp (UTC); None means any."""

    since: date | None = None
    until: date | None = None
    error_class: str | None = None
    partition: int | None = None
    offset: int | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a row is chosen. Gaps hold no message and never are."""
        return (
            letter.error_class != "gap"
            and self.error_class in (None, letter.error_class)
            and self.partition in (None, letter.partition)
            and self.offset in (None, letter.offset)
        )

    def takes_day(self, day: date) -> bool:
        """Whether objects of a day are read at all."""
        return (self.since is None or day >= self.since) and (self.until is None or day <= self.until)


def letters(store: S3Store, storage: StorageSettings, choice: Choice) -> Iterator[DeadLetter]:
    """The chosen dead letters, by day, then partition and offset as the keys sort.

    Raises:
        ValueError: an object under the dead-letter prefix is not one.
    """
    prefix = storage.dead_letter_prefix
    offset = f"{prefix}{choice.since:%Y/%m/%d}" if choice.since else None
    for chunk in obstore.list(store, prefix=prefix, offset=offset):
        for entry in chunk:
            key = parse_key(entry["path"])
            if key is None or key.kind != "dead_letter" or not choice.takes_day(key.time.date()):
                if key is not None and choice.until is not None and key.time.date() > choice.until:
                    return  # keys sort by day
                continue
            for row in body.decode(bytes(obstore.get(store, entry["path"]).bytes()), key.suffix):
                letter = DeadLetter.from_row(row)
                if choice.takes(letter):
                    yield letter


class Marker(msgspec.Struct, frozen=True):
    """State of one letter's replay: `log_ends` are the topic's high watermarks just before it was first sent."""

    letter: str
    log_ends: dict[int, int]
    claimed_at: datetime
    replayed_at: datetime | None = None


def letter_id(letter: DeadLetter) -> str:
    """Where a letter came from, as its replay header says."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


class RefusedLetterError(RuntimeError):
    """Kafka does not take this message, whatever it does with others; names the letter and the reason."""


class Replay:
    """Puts dead letters back on their topic, each once."""

    def __init__(self, kafka: KafkaSettings, storage: StorageSettings, store: S3Store) -> None:
        self._kafka = kafka
        self._storage = storage
        self._store = store
        self._producer = Producer(kafka.client_config() | {"enable.idempotence": True, "acks": "all"})
        self._ends: dict[str, dict[int, int]] = {}

    def pending(self, chosen: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        """The letters of `chosen` that were not replayed yet; markers are read only where there are any."""
        prefix = f"{self._storage.state_prefix}replayed/"
        marked = {entry["path"] for chunk in obstore.list(self._store, prefix=prefix) for entry in chunk}
        for letter in chosen:
            marker = self.marker(letter) if self.marker_key(letter) in marked else None
            if marker is None or marker.replayed_at is None:
                yield letter

    def marker_key(self, letter: DeadLetter) -> str:
        """Key of a letter's marker."""
        return f"{self._storage.state_prefix}replayed/p{letter.partition:05d}_o{letter.offset:020d}.json"

    def marker(self, letter: DeadLetter) -> Marker | None:
        """The letter's marker, None when it was never replayed."""
        try:
            found = obstore.get(self._store, self.marker_key(letter))
        except (obstore.exceptions.NotFoundError, FileNotFoundError):
            return None
        return msgspec.json.decode(bytes(found.bytes()), type=Marker)

    def send(self, letter: DeadLetter) -> bool:
        """Replay one letter; False when it had been replayed already.

        Raises:
            RefusedLetterError: the broker refused this message. It is not on the topic; the next replay tries again.
            KafkaException: the broker did not acknowledge it. Its marker stays, and the next replay looks for it.
        """
        marker = self.marker(letter)
        if marker is not None and marker.replayed_at is not None:
            return False
        if marker is None:
            if letter.topic not in self._ends:  # ends of some letters ago are ends before this one too
                self._ends[letter.topic] = self._present_ends(letter.topic)
            marker = Marker(letter_id(letter), self._ends[letter.topic], datetime.now(UTC))
            try:
                self._write(letter, marker, create=True)
            except AlreadyExistsError:
                return False  # another replay is at it
            present = False
        else:
            present = self._is_on_topic(letter, marker)
        if not present:
            try:
                self._produce(letter)
            except RefusedLetterError:  # certainly not on the topic up to here: not to be looked for again
                ends = self._present_ends(letter.topic)
                self._write(letter, msgspec.structs.replace(marker, log_ends=ends), create=False)
                raise
        self._write(letter, msgspec.structs.replace(marker, replayed_at=datetime.now(UTC)), create=False)
        return not present

    def _write(self, letter: DeadLetter, marker: Marker, *, create: bool) -> None:
        obstore.put(
            self._store,
            self.marker_key(letter),
            msgspec.json.encode(marker),
            mode="create" if create else "overwrite",
            use_multipart=False,
        )

    def _produce(self, letter: DeadLetter) -> None:
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
        if self._producer.flush(SEND_SECONDS):
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

    def _present_ends(self, topic: str) -> dict[int, int]:
        return {partition: high for partition, (_, high) in self._log_ranges(topic).items()}

    def _is_on_topic(self, letter: DeadLetter, marker: Marker) -> bool:
        """Look for the replayed message between the marker's log ends and the present ones.

        What retention has deleted of that is not known: a message that was there would be sent again.
        """
        wanted = (REPLAY_HEADER, letter_id(letter).encode())
        reader = self._reader()
        try:
            for partition, (low, end) in self._log_ranges(letter.topic).items():
                start = max(low, marker.log_ends.get(partition, 0))
                if start < end and self._holds(reader, TopicPartition(letter.topic, partition, start), end, wanted):
                    return True
        finally:
            reader.close()
        return False

    @staticmethod
    def _holds(reader: Consumer, start: TopicPartition, end: int, wanted: tuple[str, bytes]) -> bool:
        reader.assign([start])
        deadline = monotonic() + SEND_SECONDS
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


def table(chosen: Sequence[DeadLetter], width: int = 80) -> list[tuple[str, str, str, str]]:
    """Rows for a listing: place, time, class and the beginning of text and payload."""
    rows: list[tuple[str, str, str, str]] = []
    for letter in chosen:
        time = datetime.fromtimestamp(letter.timestamp / 1000, UTC).isoformat(timespec="seconds")
        payload = (letter.payload_bytes() or b"").decode(errors="backslashreplace")
        rows.append((letter_id(letter), time, letter.error_class, f"{letter.error} | {payload}"[:width]))
    return rows
