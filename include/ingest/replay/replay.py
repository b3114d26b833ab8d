"""Putting chosen dead letters back on their topic.

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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import TYPE_CHECKING, Annotated, Protocol
from uuid import uuid4

import msgspec
import obstore
from obstore.exceptions import AlreadyExistsError, GenericError, NotFoundError, PreconditionError
from obstore.store import ObjectStore

from include.ingest.replay.choice import letter_id
from include.landing.dead_letter import DeadLetter
from include.settings import StorageSettings

if TYPE_CHECKING:
    from obstore import UpdateVersion

CLAIM_TIME = timedelta(seconds=60)
"""A claim whose PUT took longer is not used: the rest of its lease might not do for sending."""
SEND_TIME = timedelta(seconds=60)
"""librdkafka gives a message up after this long (`message.timeout.ms`)."""
LEASE = CLAIM_TIME + SEND_TIME + timedelta(minutes=3)
"""How long nobody else touches a claimed letter: its message is sent, or given up, in the first two of the five
minutes; the rest is for clocks that differ and for a request that is still on its way to the broker."""
CLAIM_TRIES = 5
CLAIM_RETRY_SECONDS = 0.2


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


class Topic(Protocol):
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

    def __init__(self, topic: Topic, storage: StorageSettings, store: ObjectStore, program: str) -> None:
        self._topic = topic
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
            self._topic.send(letter)
        except RefusedLetterError:  # certainly not on the topic up to here: not to be looked for again
            ends = self._topic.ends(letter.topic)
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
        if not self._topic.holds(letter, found.marker.log_ends):
            return False
        self._complete(letter, found)
        return True

    def _new_claim(self, letter: DeadLetter, found: StoredMarker | None) -> Marker:
        if found is not None:
            return msgspec.structs.replace(found.marker, claimed_at=datetime.now(UTC), claimed_by=self._me)
        if letter.topic not in self._ends:  # ends of some letters ago are ends before this one too
            self._ends[letter.topic] = self._topic.ends(letter.topic)
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
