"""Sends dead letters to their topic again.

Each dead letter is sent once, however many replays run. Its marker object under the state prefix says who claims it,
since when, and where the topic ended before. The marker is created before the message is sent, and completed when the
broker has acknowledged it. A claim holds for `LEASE`; its message is sent within that time or never. After that,
another replay looks for the message on the topic, from those ends on. If it is not there, the replay takes the claim
over by a conditional PUT, which succeeds for only one of several replays.
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

from include.ingest.replay.choice import dead_letter_id
from include.landing.dead_letter import DeadLetter
from include.settings import StorageSettings

if TYPE_CHECKING:
    from obstore import UpdateVersion

CLAIM_TIME = timedelta(seconds=60)
"""A claim whose PUT took longer is not used: the rest of its lease may be too short for sending."""
SEND_TIME = timedelta(seconds=60)
"""After this time librdkafka drops a message (`message.timeout.ms`)."""
LEASE = CLAIM_TIME + SEND_TIME + timedelta(minutes=3)
"""How long no other replay touches a claimed dead letter. Its message is sent or dropped in the first two of the five
minutes. The rest is for clocks that differ, and for a request that is still on its way to the broker."""
CLAIM_TRIES = 5
CLAIM_RETRY_SECONDS = 0.2


class Marker(msgspec.Struct, frozen=True):
    """State of a dead letter's replay. `letter` is its id; `log_ends` are the high watermarks before it was sent."""

    letter: str
    log_ends: dict[int, int]
    claimed_at: Annotated[datetime, msgspec.Meta(tz=True)]
    claimed_by: str | None = None
    """None: the claim was given back, or a version without the lease wrote the marker."""
    replayed_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    def held_until(self) -> datetime | None:
        """The end of the claim's lease, None without a lease that still holds."""
        until = self.claimed_at + LEASE
        return None if self.claimed_by is None or datetime.now(UTC) >= until else until


@dataclass(frozen=True, slots=True)
class StoredMarker:
    """A marker as read or written, with its ETag for a conditional replacement."""

    marker: Marker
    e_tag: str | None


class RefusedMessageError(RuntimeError):
    """Kafka refuses this message but may take others; the text names the dead letter and the reason."""


class ClaimedDeadLetterError(RuntimeError):
    """Another replay, perhaps a dead one, claims this dead letter; the text names it and when to replay again."""


class UnreadableMarkerError(RuntimeError):
    """The dead letter's marker is not readable; the text names the object and the remedy."""


@dataclass(slots=True)
class Report:
    """Result of a replay: counts of messages sent or already on the topic; for each problem a text."""

    sent: int = 0
    present: int = 0
    refused: list[str] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def problems(self) -> list[tuple[str, str]]:
        """Each problem: its kind, and its text."""
        return [
            *(("dead letter refused by Kafka", text) for text in self.refused),
            *(("dead letter left to another replay", text) for text in self.claimed),
            *(("object unreadable", text) for text in self.unreadable),
        ]

    def __str__(self) -> str:
        """The counts; those of problems only if they are not 0."""
        problems = {
            "refused": self.refused,
            "left to another replay": self.claimed,
            "unreadable": self.unreadable,
        }
        counts = "".join(f", {len(texts)} {kind}" for kind, texts in problems.items() if texts)
        return f"{self.sent} sent, {self.present} were on the topic already{counts}"


class Topic(Protocol):
    """The topic, as replay needs it."""

    def ends(self, name: str) -> dict[int, int]:
        """High watermark of each partition."""

    def holds(self, dead_letter: DeadLetter, since: dict[int, int]) -> bool:
        """Whether the replayed message is on the topic between the ends `since` and the present ends."""

    def send(self, dead_letter: DeadLetter) -> None:
        """Send the message within `SEND_TIME` or never.

        Raises:
            RefusedMessageError: the broker refused this message; it is not on the topic.
            KafkaException: the broker did not acknowledge it; it may be on the topic.
        """


class Replay:
    """Sends dead letters to their topic again, each once."""

    def __init__(self, topic: Topic, storage: StorageSettings, store: ObjectStore, program: str) -> None:
        self._topic = topic
        self._storage = storage
        self._store = store
        self._me = f"{program} on {socket.gethostname()}, process {os.getpid()} ({uuid4().hex[:8]})"
        self._ends: dict[str, dict[int, int]] = {}

    def pending(self, dead_letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        """The dead letters that were not replayed yet. Only markers that a listing shows are read."""
        prefix = f"{self._storage.state_prefix}replayed/"
        marked = {entry["path"] for chunk in obstore.list(self._store, prefix=prefix) for entry in chunk}
        for dead_letter in dead_letters:
            if self.marker_key(dead_letter) not in marked or not self._is_complete(dead_letter):
                yield dead_letter

    def _is_complete(self, dead_letter: DeadLetter) -> bool:
        try:
            stored = self._read(dead_letter)
        except UnreadableMarkerError:
            return False  # `send` then reports the marker
        return stored is not None and stored.marker.replayed_at is not None

    def marker_key(self, dead_letter: DeadLetter) -> str:
        """Key of a dead letter's marker."""
        return f"{self._storage.state_prefix}replayed/p{dead_letter.partition:05d}_o{dead_letter.offset:020d}.json"

    def send_and_report(self, dead_letter: DeadLetter, report: Report) -> None:
        """Replay one dead letter and add the outcome to the report, also a problem of only this dead letter."""
        try:
            if self.send(dead_letter):
                report.sent += 1
            else:
                report.present += 1
        except RefusedMessageError as error:
            report.refused.append(str(error))
        except ClaimedDeadLetterError as error:
            report.claimed.append(str(error))
        except UnreadableMarkerError as error:
            report.unreadable.append(str(error))

    def send(self, dead_letter: DeadLetter) -> bool:
        """Replay one dead letter; False when its message was on the topic already.

        Raises:
            RefusedMessageError: the broker refused this message. It is not on the topic; the next replay tries again.
            ClaimedDeadLetterError: the lease of another replay has not ended.
            UnreadableMarkerError: the marker does not say what an earlier replay did.
            KafkaException: no acknowledgement. The claim stays; after its lease another replay looks for the message.
            GenericError: S3 did not accept the claim, or took too long; nothing was sent.
        """
        claim = self._claim(dead_letter)
        if claim is None:
            return False
        duration = datetime.now(UTC) - claim.marker.claimed_at
        if duration > CLAIM_TIME:
            raise GenericError(
                f"{dead_letter_id(dead_letter)} is not sent: its claim took {duration.total_seconds():.0f} s, "
                f"{CLAIM_TIME.total_seconds():.0f} s are allowed; replay again {LEASE} later, when S3 answers"
            )
        try:
            self._topic.send(dead_letter)
        except RefusedMessageError:  # the message is not on the topic up to `ends`: later replays look after them
            ends = self._topic.ends(dead_letter.topic)
            self._write(dead_letter, msgspec.structs.replace(claim.marker, log_ends=ends, claimed_by=None), claim)
            raise
        self._complete(dead_letter, claim)
        return True

    def _claim(self, dead_letter: DeadLetter) -> StoredMarker | None:
        """Our claim of the dead letter, None when its message is on the topic already."""
        mine: Marker | None = None
        for _ in range(CLAIM_TRIES):
            stored = self._read(dead_letter)
            if stored is not None and stored.marker == mine:
                return stored  # the PUT took effect and its answer was lost
            if stored is not None and self._is_replayed(dead_letter, stored):
                return None
            mine = self._new_claim(dead_letter, stored)
            claim = self._write(dead_letter, mine, stored)
            if claim is not None:
                return claim
            sleep(CLAIM_RETRY_SECONDS)  # another replay was faster, or S3 answered 409 without an object there
        raise GenericError(
            f"{self.marker_key(dead_letter)}: S3 answered {CLAIM_TRIES} times that another write is under way; "
            "replay again"
        )

    def _is_replayed(self, dead_letter: DeadLetter, stored: StoredMarker) -> bool:
        """Whether the message is on the topic. The lease has ended, so nobody can send it during the search.

        Raises:
            ClaimedDeadLetterError: the lease has not ended.
        """
        if stored.marker.replayed_at is not None:
            return True
        until = stored.marker.held_until()
        if until is not None:
            raise ClaimedDeadLetterError(
                f"{dead_letter_id(dead_letter)} is being replayed by {stored.marker.claimed_by} since "
                f"{stored.marker.claimed_at:%Y-%m-%dT%H:%M:%SZ}; to be sure that it was sent, replay again "
                f"after {until:%Y-%m-%dT%H:%M:%SZ}"
            )
        if not self._topic.holds(dead_letter, stored.marker.log_ends):
            return False
        self._complete(dead_letter, stored)
        return True

    def _new_claim(self, dead_letter: DeadLetter, stored: StoredMarker | None) -> Marker:
        if stored is not None:
            return msgspec.structs.replace(stored.marker, claimed_at=datetime.now(UTC), claimed_by=self._me)
        topic = dead_letter.topic
        if topic not in self._ends:  # read once: earlier ends are also ends before this message
            self._ends[topic] = self._topic.ends(topic)
        return Marker(dead_letter_id(dead_letter), self._ends[topic], datetime.now(UTC), self._me)

    def _complete(self, dead_letter: DeadLetter, stored: StoredMarker) -> None:
        """Record that the message is on the topic. Another replay that wrote the marker meanwhile finds the message."""
        self._write(dead_letter, msgspec.structs.replace(stored.marker, replayed_at=datetime.now(UTC)), stored)

    def _read(self, dead_letter: DeadLetter) -> StoredMarker | None:
        try:
            response = obstore.get(self._store, self.marker_key(dead_letter))
        except (NotFoundError, FileNotFoundError):
            return None
        try:
            marker = msgspec.json.decode(bytes(response.bytes()), type=Marker)
        except ValueError as error:  # the base class of msgspec's errors and of the error for invalid UTF-8
            raise UnreadableMarkerError(
                f"s3://{self._storage.bucket}/{self.marker_key(dead_letter)}: not a replay's marker ({error}); "
                f"delete it to send {dead_letter_id(dead_letter)}, perhaps a second time"
            ) from error
        return StoredMarker(marker, response.meta["e_tag"])

    def _write(self, dead_letter: DeadLetter, marker: Marker, old: StoredMarker | None) -> StoredMarker | None:
        """Write the marker in place of `old`; None when S3 reports that another write came first."""
        update: UpdateVersion | None = None if old is None else {"e_tag": old.e_tag}
        key, content = self.marker_key(dead_letter), msgspec.json.encode(marker)
        try:
            response = obstore.put(self._store, key, content, mode=update or "create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):  # 412, or 409
            return None
        return StoredMarker(marker, response["e_tag"])
