"""Dead letters: the rows of a batch's rejects, and putting chosen ones back on the topic.

A letter is sent once, by however many replays. Its marker object under the state prefix
says who claims it, since when, and where the log ended before; it is created before the
message is sent and completed after the broker acknowledged it. A claim holds for `LEASE`,
and its message is sent within that or never. After that another replay looks for the
message on the topic, from those ends on, and if it is not there takes the claim over by
a conditional PUT, which one of several wins.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated, Protocol
from uuid import uuid4

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
from obstore.exceptions import AlreadyExistsError, GenericError, NotFoundError, PreconditionError
from obstore.store import ObjectStore

from include.ingest.partition_writer import Gap, Put, rows_to_land
from include.landing import body
from include.landing.dead_letter import DeadLetter, gap, rejected_message
from include.landing.layout import ObjectKey, Suffix, parse_key
from include.settings import KafkaSettings, StorageSettings

if TYPE_CHECKING:
    from obstore import UpdateVersion

REPLAY_HEADER = "replay-of"
"""Header of a replayed message: topic/partition/offset of the dead letter."""
GAP_TEXT = "no record at these offsets: transaction markers, or records deleted before they were read"
SEARCH_SECONDS = 60.0
"""Reading a partition to look for a message takes no longer."""
CLAIM_TIME = timedelta(seconds=60)
"""A claim whose PUT took longer is not used: the rest of its lease might not do for sending."""
SEND_TIME = timedelta(seconds=60)
"""librdkafka gives a message up after this long (`message.timeout.ms`)."""
LEASE = CLAIM_TIME + SEND_TIME + timedelta(minutes=3)
"""How long nobody else touches a claimed letter: its message is sent, or given up, in the first two of the five
minutes; the rest is for clocks that differ and for a request that is still on its way to the broker."""
CLAIM_TRIES = 5
CLAIM_RETRY_SECONDS = 0.2
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

    def takes_key(self, key: ObjectKey) -> bool:
        """Whether an object is read at all."""
        day = key.time.date()
        return (
            (self.since is None or day >= self.since)
            and (self.until is None or day <= self.until)
            and self.partition in (None, key.partition)
        )


def letters(
    store: ObjectStore, storage: StorageSettings, choice: Choice, unreadable: list[str]
) -> Iterator[DeadLetter]:
    """The chosen dead letters, by day, then partition and offset as the keys sort.

    An object that is none is named in `unreadable`: it keeps nobody from the others.
    """
    prefix = storage.dead_letter_prefix
    offset = f"{prefix}{choice.since:%Y/%m/%d}" if choice.since else None
    for chunk in obstore.list(store, prefix=prefix, offset=offset):
        for entry in chunk:
            key = parse_key(entry["path"])
            if key is None or key.kind != "dead_letter" or not choice.takes_key(key):
                if key is not None and choice.until is not None and key.time.date() > choice.until:
                    return  # keys sort by day
                continue
            try:
                rows = _rows(bytes(obstore.get(store, entry["path"]).bytes()), key.suffix)
            except ValueError as error:
                unreadable.append(
                    f"s3://{storage.bucket}/{entry['path']}: {error}; none of its messages is replayed: "
                    "restore the version that the consumer wrote"
                )
                continue
            yield from filter(choice.takes, rows)


def _rows(content: bytes, suffix: Suffix) -> list[DeadLetter]:
    """The dead letters of an object.

    Raises:
        ValueError: it is no dead-letter object, or its base64 is none.
    """
    rows = [DeadLetter.from_row(row) for row in body.decode(content, suffix)]
    for row in rows:
        row.payload_bytes(), row.key_bytes(), row.header_pairs()
    return rows


class Marker(msgspec.Struct, frozen=True):
    """State of one letter's replay: `log_ends` are the topic's high watermarks just before it was first sent."""

    letter: str
    log_ends: dict[int, int]
    claimed_at: Annotated[datetime, msgspec.Meta(tz=True)]
    claimed_by: str | None = None
    """None: nobody any more, or a version that knew no lease."""
    replayed_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    def held_until(self) -> datetime | None:
        """The end of the claim's lease, None when nobody holds it."""
        until = self.claimed_at + LEASE
        return None if self.claimed_by is None or datetime.now(UTC) >= until else until


@dataclass(frozen=True, slots=True)
class StoredMarker:
    """A marker as read or written, with its ETag for a conditional replacement."""

    marker: Marker
    e_tag: str | None


def letter_id(letter: DeadLetter) -> str:
    """Where a letter came from, as its replay header says."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


class RefusedLetterError(RuntimeError):
    """Kafka does not take this message, whatever it does with others; names the letter and the reason."""


class ClaimedLetterError(RuntimeError):
    """Another replay is at this letter, or died at it; names both, and when to replay again."""


class UnreadableMarkerError(RuntimeError):
    """The letter's marker is not what was written; names the object and the remedy."""


@dataclass(slots=True)
class Report:
    """What replaying came to: letters sent and already there; what was not done, one text each."""

    sent: int = 0
    present: int = 0
    refused: list[str] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def left(self) -> list[tuple[str, str]]:
        """What was not done: in a word, and which and why."""
        return [
            *(("dead letter refused by Kafka", text) for text in self.refused),
            *(("dead letter left to another replay", text) for text in self.claimed),
            *(("object unreadable", text) for text in self.unreadable),
        ]

    def __str__(self) -> str:
        """The counts; of what was not done, those that are not nought."""
        named = {
            "refused": self.refused,
            "left to another replay": self.claimed,
            "unreadable": self.unreadable,
        }
        rare = "".join(f", {len(texts)} {name}" for name, texts in named.items() if texts)
        return f"{self.sent} sent, {self.present} were on the topic already{rare}"


class Log(Protocol):
    """The topic, as replay needs it."""

    def ends(self, topic: str) -> dict[int, int]:
        """Each partition's high watermark."""

    def holds(self, letter: DeadLetter, since: dict[int, int]) -> bool:
        """Whether the letter's replayed message is on the topic between these ends and the present ones."""

    def send(self, letter: DeadLetter) -> None:
        """Send the message within `SEND_TIME` or never.

        Raises:
            RefusedLetterError: the broker refused this message; it is not on the topic.
            KafkaException: the broker did not acknowledge it; it may be on the topic.
        """


class Replay:
    """Puts dead letters back on their topic, each once."""

    def __init__(self, log: Log, storage: StorageSettings, store: ObjectStore, program: str) -> None:
        self._log = log
        self._storage = storage
        self._store = store
        self._me = f"{program} on {socket.gethostname()}, process {os.getpid()} ({uuid4().hex[:8]})"
        self._ends: dict[str, dict[int, int]] = {}

    def pending(self, chosen: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        """The letters of `chosen` that were not replayed yet; markers are read only where there are any."""
        prefix = f"{self._storage.state_prefix}replayed/"
        marked = {entry["path"] for chunk in obstore.list(self._store, prefix=prefix) for entry in chunk}
        for letter in chosen:
            if self.marker_key(letter) not in marked or not self._is_done(letter):
                yield letter

    def _is_done(self, letter: DeadLetter) -> bool:
        try:
            found = self._read(letter)
        except UnreadableMarkerError:
            return False  # sending it says so
        return found is not None and found.marker.replayed_at is not None

    def marker_key(self, letter: DeadLetter) -> str:
        """Key of a letter's marker."""
        return f"{self._storage.state_prefix}replayed/p{letter.partition:05d}_o{letter.offset:020d}.json"

    def send_into(self, letter: DeadLetter, report: Report) -> None:
        """Replay one letter and count it; what concerns this letter alone goes into the report."""
        try:
            if self.send(letter):
                report.sent += 1
            else:
                report.present += 1
        except RefusedLetterError as error:
            report.refused.append(str(error))
        except ClaimedLetterError as error:
            report.claimed.append(str(error))
        except UnreadableMarkerError as error:
            report.unreadable.append(str(error))

    def send(self, letter: DeadLetter) -> bool:
        """Replay one letter; False when it was on the topic already.

        Raises:
            RefusedLetterError: the broker refused this message. It is not on the topic; the next replay tries again.
            ClaimedLetterError: another replay's lease of it has not ended.
            UnreadableMarkerError: what became of it before is not known.
            KafkaException: the broker did not acknowledge it. Its claim stays; a replay after its lease looks for it.
            GenericError: S3 did not let it be claimed, or took too long; nothing was sent.
        """
        claim = self._claim(letter)
        if claim is None:
            return False
        took = datetime.now(UTC) - claim.marker.claimed_at
        if took > CLAIM_TIME:
            raise GenericError(
                f"{letter_id(letter)} is not sent: its claim took {took.total_seconds():.0f} s, "
                f"{CLAIM_TIME.total_seconds():.0f} s are allowed; replay again {LEASE} later, when S3 answers"
            )
        try:
            self._log.send(letter)
        except RefusedLetterError:  # certainly not on the topic up to here: not to be looked for again
            ends = self._log.ends(letter.topic)
            self._write(letter, msgspec.structs.replace(claim.marker, log_ends=ends, claimed_by=None), claim)
            raise
        self._complete(letter, claim)
        return True

    def _claim(self, letter: DeadLetter) -> StoredMarker | None:
        """Our claim of the letter, None when it is on the topic already."""
        mine: Marker | None = None
        for _ in range(CLAIM_TRIES):
            found = self._read(letter)
            if found is not None and found.marker == mine:
                return found  # the PUT took effect and its answer was lost
            if found is not None and self._is_settled(letter, found):
                return None
            mine = self._new_claim(letter, found)
            claim = self._write(letter, mine, found)
            if claim is not None:
                return claim
            sleep(CLAIM_RETRY_SECONDS)  # somebody was faster, or S3 answered 409 and nothing is there
        raise GenericError(
            f"{self.marker_key(letter)}: S3 answered {CLAIM_TRIES} times that another write is under way; replay again"
        )

    def _is_settled(self, letter: DeadLetter, found: StoredMarker) -> bool:
        """Whether the letter is on the topic. Nobody can send it while we look: the lease has ended.

        Raises:
            ClaimedLetterError: the lease has not ended.
        """
        if found.marker.replayed_at is not None:
            return True
        until = found.marker.held_until()
        if until is not None:
            raise ClaimedLetterError(
                f"{letter_id(letter)} is being replayed by {found.marker.claimed_by} since "
                f"{found.marker.claimed_at:%Y-%m-%dT%H:%M:%SZ}; to make sure of it replay again "
                f"after {until:%Y-%m-%dT%H:%M:%SZ}"
            )
        if not self._log.holds(letter, found.marker.log_ends):
            return False
        self._complete(letter, found)
        return True

    def _new_claim(self, letter: DeadLetter, found: StoredMarker | None) -> Marker:
        if found is not None:
            return msgspec.structs.replace(found.marker, claimed_at=datetime.now(UTC), claimed_by=self._me)
        if letter.topic not in self._ends:  # ends of some letters ago are ends before this one too
            self._ends[letter.topic] = self._log.ends(letter.topic)
        return Marker(letter_id(letter), self._ends[letter.topic], datetime.now(UTC), self._me)

    def _complete(self, letter: DeadLetter, found: StoredMarker) -> None:
        """Say that the letter is on the topic. Who else has written meanwhile finds that for himself."""
        self._write(letter, msgspec.structs.replace(found.marker, replayed_at=datetime.now(UTC)), found)

    def _read(self, letter: DeadLetter) -> StoredMarker | None:
        try:
            found = obstore.get(self._store, self.marker_key(letter))
        except (NotFoundError, FileNotFoundError):
            return None
        try:
            marker = msgspec.json.decode(bytes(found.bytes()), type=Marker)
        except ValueError as error:  # as msgspec's own errors and bad UTF-8 both are
            raise UnreadableMarkerError(
                f"s3://{self._storage.bucket}/{self.marker_key(letter)}: no marker of a replay ({error}); "
                f"delete it to send {letter_id(letter)}, perhaps a second time"
            ) from error
        return StoredMarker(marker, found.meta["e_tag"])

    def _write(self, letter: DeadLetter, marker: Marker, over: StoredMarker | None) -> StoredMarker | None:
        """Write the marker in place of the one that was read; None when S3 says that another write came between."""
        replacing: UpdateVersion | None = None if over is None else {"e_tag": over.e_tag}
        key, content = self.marker_key(letter), msgspec.json.encode(marker)
        try:
            answer = obstore.put(self._store, key, content, mode=replacing or "create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):  # 412, or 409
            return None
        return StoredMarker(marker, answer["e_tag"])


class KafkaLog:
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


def table(chosen: Sequence[DeadLetter], width: int = 80) -> list[tuple[str, str, str, str]]:
    """Rows for a listing: place, time, class and the beginning of text and payload."""
    rows: list[tuple[str, str, str, str]] = []
    for letter in chosen:
        time = datetime.fromtimestamp(letter.timestamp / 1000, UTC).isoformat(timespec="seconds")
        payload = (letter.payload_bytes() or b"").decode(errors="backslashreplace")
        rows.append((letter_id(letter), time, letter.error_class, f"{letter.error} | {payload}"[:width]))
    return rows
