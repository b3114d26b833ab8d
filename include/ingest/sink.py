"""The sink: carries out the protocol's PUTs against S3, in threads, until each succeeds.

A PUT is create-only. An object that exists is read (metadata; its offsets too when it has
rejects) and reported as `Landed`. Failures are repeated with jittered exponential delays
for as long as the assignment lives; nothing is dropped here.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import S3Store

from include.ingest.listing import read_metadata, require_topic
from include.ingest.logs import logger
from include.ingest.metrics import ConsumerMetrics
from include.ingest.partition_writer import Answer, Created, Landed, ProtocolError, Put, Step
from include.landing import body
from include.landing.contract import Contract
from include.landing.layout import Kind, object_key
from include.landing.metadata import ObjectMetadata

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 10.0
CONTENT_TYPES = {".json": "application/json", ".json.gz": "application/gzip"}

Rows = Callable[[Put], Sequence[Any]]
"""The dead-letter lines of a PUT's batch, as `DeadLetter` rows."""


class NotLandedError(OSError):
    """S3 refused a PUT for a write of the same key that has not landed, and may yet fail: simply try again.

    obstore reports S3's 409, of which this is true, like 412.
    """


@dataclass(frozen=True, slots=True)
class Done:
    """A PUT's outcome, `seconds` after its first attempt began.

    `answer` is None when it was given up with its assignment; `error` stops the partition.
    """

    put: Put
    answer: Answer | None
    seconds: float = 0.0
    error: ProtocolError | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects go, and who writes them."""

    data_prefix: str
    dead_letter_prefix: str
    contract: Contract
    writer: str


class Sink:
    """Worker threads around one store. `answers` is read by the consumer's loop."""

    def __init__(self, store: S3Store, place: Place, rows: Rows, metrics: ConsumerMetrics, threads: int) -> None:
        self.answers: SimpleQueue[Done] = SimpleQueue()
        self.place = place
        self.last_error = ""
        self._store = store
        self._rows = rows
        self._metrics = metrics
        self._log = logger("sink")
        self._inbox: SimpleQueue[Put | None] = SimpleQueue()
        self._closing = threading.Event()
        self._ended: set[tuple[int, int]] = set()
        self._failing: dict[int, float] = {}
        self._threads = [threading.Thread(target=self._run, name=f"put-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def failing_since(self) -> float | None:
        """Monotonic time of the first failure, in seconds, of the PUT under way that has failed longest; else None."""
        return min(list(self._failing.values()), default=None)

    def submit(self, put: Put) -> None:
        """Carry out a PUT; its outcome will be in `answers`."""
        self._inbox.put(put)

    def abandon(self, partition: int, assignment: int) -> None:
        """Stop repeating the PUTs of a partition whose assignment ended."""
        self._ended.add((partition, assignment))

    def close(self) -> None:
        """Give up everything and end the threads."""
        self._closing.set()
        for _ in self._threads:
            self._inbox.put(None)

    def _run(self) -> None:
        while (put := self._inbox.get()) is not None:
            started = monotonic()
            try:
                answer = self._until_done(put)
            except ProtocolError as error:
                self.answers.put(Done(put, None, error=error))
            except Exception as error:  # noqa: BLE001 - a thread must not die silently: the partition stops with it
                self._log.exception("PUT failed unexpectedly", partition=put.partition, first_offset=put.batch.first)
                self.answers.put(Done(put, None, error=ProtocolError(f"unexpected {type(error).__name__}: {error}")))
            else:
                self.answers.put(Done(put, answer, monotonic() - started))
            finally:
                self._failing.pop(threading.get_ident(), None)

    def _until_done(self, put: Put) -> Answer | None:
        """Repeat until the object exists; None when its assignment or this sink ends first."""
        key, payload, attributes = self._object(put)
        delay = FIRST_DELAY_SECONDS
        while not (self._closing.is_set() or (put.partition, put.assignment) in self._ended):
            try:
                answer = self._once(put, key, payload, attributes)
            except (BaseError, OSError) as error:
                self._failed(error, key)
                self._closing.wait(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                delay = min(delay * 2, MAX_DELAY_SECONDS)
                continue
            return answer
        return None

    def _object(self, put: Put) -> tuple[str, bytes, dict[str, str]]:
        """Key, body and metadata of a PUT."""
        batch, contract = put.batch, self.place.contract
        if put.step is Step.DEAD_LETTERS:
            kind: Kind = "dead_letter"
            rows = [row.to_line() for row in self._rows(put)]
            prefix, records, rejected = self.place.dead_letter_prefix, 0, len(rows)
            payload = body.encode(rows, contract.suffix)
        else:
            kind = "crypto_data"
            prefix, records, rejected = self.place.data_prefix, batch.accepted(), len(batch.rejects)
            payload = body.encode(batch.lines(), contract.suffix)
        metadata = ObjectMetadata(
            topic=contract.topic,
            topic_id=contract.topic_id,
            partition=put.partition,
            first_offset=batch.first,
            last_offset=batch.last,
            records=records,
            rejected=rejected,
            writer=self.place.writer,
        )
        key = object_key(prefix, kind, put.partition, batch.first, batch.timestamp, contract.suffix)
        attributes = metadata.to_attributes() | {"Content-Type": CONTENT_TYPES[contract.suffix]}
        return key, payload, attributes

    def _once(self, put: Put, key: str, payload: bytes, attributes: dict[str, str]) -> Answer:
        """One attempt (rule 6).

        Raises:
            NotLandedError: an object was reported that is not there (rule 6).
            BaseError, OSError: it failed; a PUT answered 404 too, whose bucket is gone.
        """
        try:
            obstore.put(self._store, key, payload, mode="create", attributes=attributes, use_multipart=False)
        except AlreadyExistsError:
            try:
                if put.step is Step.DATA:
                    return self._existing(key)
                # Its range is fixed by the data object: whoever of this topic wrote it wrote the same rows.
                require_topic(key, read_metadata(self._store, key), self.place.contract.topic_id)
            except (NotFoundError, FileNotFoundError) as error:  # obstore 0.12 raises the latter
                raise NotLandedError(key) from error
        return Created()

    def _existing(self, key: str) -> Landed:
        """What the object that was first holds."""
        metadata = read_metadata(self._store, key)
        self._metrics.found.inc()
        offsets = None
        if metadata.rejected:
            try:
                rows = body.decode(bytes(obstore.get(self._store, key).bytes()), self.place.contract.suffix)
            except ValueError as error:
                raise ProtocolError(f"{key}: {error}") from error
            offsets = frozenset(int(row["_offset"]) for row in rows)
        return Landed(
            metadata.topic_id, metadata.partition, metadata.first_offset, metadata.last_offset, metadata.rejected,
            offsets,
        )  # fmt: skip

    def _failed(self, error: Exception, key: str) -> None:
        if isinstance(error, NotLandedError):
            return
        self._failing.setdefault(threading.get_ident(), monotonic())
        self.last_error = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
        self._metrics.failed(type(error).__name__)
        self._log.warning("PUT failed, will be repeated", key=key, error=self.last_error)
