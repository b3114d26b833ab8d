"""The sink: carries out the protocol's PUTs against S3, in threads, until each succeeds.

A PUT is create-only. If the object exists, the sink reads its metadata (and its offsets if it has rejects) and answers
with an `ExistingObject`. It retries a failed PUT with jittered exponential delays as long as the assignment lives, and
drops nothing.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import S3Store

from include.ingest import patience
from include.ingest.listing import read_metadata, require_topic
from include.ingest.logs import logger
from include.ingest.metrics import ConsumerMetrics
from include.ingest.partition_writer import Answer, Created, ExistingObject, ProtocolError, Put, Step
from include.ingest.rejects import batch_rows
from include.ingest.store import with_time
from include.landing.codec import Codec
from include.landing.contract import Contract
from include.landing.layout import Kind, object_key
from include.landing.metadata import ObjectMetadata
from include.reasons import is_timeout, reason_of

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 10.0


CONFLICT_SECONDS = 5.0
"""Another write of the same key ends within seconds. A PUT that meets nothing but 409 for longer fails."""


class NotLandedError(OSError):
    """409: another write of this key is in progress and may fail, so retry. obstore reports 409 and 412 alike."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"S3 says that another write of this object is in progress (409 or 412), and the object is not there: {key}"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a PUT, `seconds` after its first attempt began.

    `answer` is None if the PUT was abandoned with its assignment, or failed with `error`, which stops the partition.
    """

    put: Put
    answer: Answer | None
    seconds: float = 0.0
    error: ProtocolError | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """The place of the objects, their format, and the name of their writer."""

    data_prefix: str
    dead_letter_prefix: str
    contract: Contract
    codec: Codec
    writer: str


class Sink:
    """Worker threads for one store. The consumer's loop reads `answers`."""

    def __init__(
        self, store: S3Store, destination: Destination, metrics: ConsumerMetrics, threads: int,
        put_seconds: float = 30.0,
    ) -> None:  # fmt: skip
        """`put_seconds` is the time limit of an answer, as in `store`; the upload of a large body gets more."""
        self.answers: SimpleQueue[Outcome] = SimpleQueue()
        self.last_error = ""
        self._store = store
        self._put_seconds = put_seconds
        self._stores = {put_seconds: store}
        self._destination = destination
        self._metrics = metrics
        self._log = logger("sink")
        self._inbox: SimpleQueue[Put | None] = SimpleQueue()
        self._closing = threading.Event()
        self._ended: set[tuple[int, int]] = set()
        self._failing: dict[int, float] = {}
        self._threads = [
            threading.Thread(target=self._run, name=f"put-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def failing_since(self) -> float | None:
        """Monotonic time (s) of the first failure of the PUT that has failed longest, None if no PUT fails now."""
        return min(list(self._failing.values()), default=None)

    def submit(self, put: Put) -> None:
        """Carry out a PUT; its outcome will be in `answers`."""
        self._inbox.put(put)

    def abandon(self, partition: int, assignment: int) -> None:
        """Stop retrying the PUTs of a partition whose assignment ended."""
        self._ended.add((partition, assignment))

    def close(self) -> None:
        """Abandon all PUTs and end the threads."""
        self._closing.set()
        for _ in self._threads:
            self._inbox.put(None)

    def _run(self) -> None:
        while (put := self._inbox.get()) is not None:
            self._carry_out(put)
            put = None  # an idle thread must not keep its last batch in memory

    def _carry_out(self, put: Put) -> None:
        started = monotonic()
        try:
            answer = self._put_until_it_exists(put)
        except ProtocolError as error:
            self.answers.put(Outcome(put, None, error=error))
        except Exception as error:  # noqa: BLE001 - a thread must not die silently: its partition stops
            self._log.exception("PUT failed unexpectedly", partition=put.partition, first_offset=put.batch.first)
            self.answers.put(Outcome(put, None, error=ProtocolError(f"unexpected {reason_of(error)}")))
        else:
            self.answers.put(Outcome(put, answer, monotonic() - started))
        finally:
            self._failing.pop(threading.get_ident(), None)

    def _put_until_it_exists(self, put: Put) -> Answer | None:
        """Retry until the object exists; None if its assignment or this sink ends first."""
        key, body, attributes = self._object(put)
        delay, timeouts, started = FIRST_DELAY_SECONDS, 0, monotonic()
        while not (self._closing.is_set() or (put.partition, put.assignment) in self._ended):
            seconds = patience.put_seconds(self._put_seconds, len(body), timeouts)
            try:
                answer = self._attempt(self._store_with(seconds), put, key, body, attributes)
            except (BaseError, OSError) as error:
                late = is_timeout(error)
                timeouts = timeouts + 1 if late else 0
                limit = self._limit(seconds, len(body)) if late else ""
                self._failed(error, key, monotonic() - started, limit)
                self._closing.wait(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                delay = min(delay * 2, MAX_DELAY_SECONDS)
                continue
            return answer
        return None

    def _store_with(self, seconds: float) -> S3Store:
        """The client whose requests may take `seconds`."""
        if seconds not in self._stores:
            self._stores[seconds] = with_time(self._store, seconds)
        return self._stores[seconds]

    def _limit(self, seconds: float, size: int) -> str:
        """The limit that a PUT reached, with its setting."""
        return (
            f" Limit: {seconds:g} s (CONSUMER_PUT_TIMEOUT_SECONDS={self._put_seconds:g} and the upload of {size:,} "
            "bytes); the next attempt may upload half as fast."
        )

    def _object(self, put: Put) -> tuple[str, bytes, dict[str, str]]:
        """Key, body and attributes of a PUT."""
        batch, destination, contract = put.batch, self._destination, self._destination.contract
        if put.step is Step.DEAD_LETTERS:
            kind: Kind = "dead_letter"
            parts = [row.to_line() for row in batch_rows(contract.topic, put.partition, batch, destination.codec)]
            prefix, records, rejected = destination.dead_letter_prefix, 0, len(parts)
        else:
            kind = "crypto_data"
            parts = batch.contents()
            prefix, records, rejected = destination.data_prefix, batch.accepted(), len(batch.rejects)
        metadata = ObjectMetadata(
            topic=contract.topic, topic_id=contract.topic_id, partition=put.partition, first_offset=batch.first,
            last_offset=batch.last, records=records, rejected=rejected, writer=destination.writer,
            begin_offset=batch.begin if batch.begin < batch.first else None,
        )  # fmt: skip
        key = object_key(prefix, kind, put.partition, batch.first, batch.timestamp, contract.suffix)
        attributes = metadata.to_attributes() | {"Content-Type": destination.codec.content_type}
        return key, destination.codec.encode(parts), attributes

    def _attempt(self, store: S3Store, put: Put, key: str, body: bytes, attributes: dict[str, str]) -> Answer:
        """Try to create the object once (rule 6).

        Raises:
            NotLandedError: S3 reports that the object exists, but it does not (rule 6).
            BaseError, OSError: the attempt failed, or S3 answered the PUT with 404 because the bucket does not exist.
        """
        try:
            obstore.put(store, key, body, mode="create", attributes=attributes, use_multipart=False)
        except AlreadyExistsError:
            try:
                if put.step is Step.DATA:
                    return self._existing(key)
                # The data object fixes its range, so every writer of this topic writes the same rows.
                require_topic(key, read_metadata(self._store, key), self._destination.contract.topic_id)
            except (NotFoundError, FileNotFoundError) as error:  # obstore 0.12 raises the latter
                raise NotLandedError(key) from error
        return Created()

    def _existing(self, key: str) -> ExistingObject:
        """The range of the object that exists, and its offsets if it has rejects."""
        metadata = read_metadata(self._store, key)
        self._metrics.batches_found.inc()
        offsets = None
        if metadata.rejected:
            try:
                rows = self._destination.codec.decode(bytes(obstore.get(self._store, key).bytes()))
            except ValueError as error:
                raise ProtocolError(f"{key}: {error}") from error
            offsets = frozenset(int(row["_offset"]) for row in rows)
        return ExistingObject(
            metadata.topic_id, metadata.partition, metadata.first_offset, metadata.last_offset, metadata.rejected,
            offsets,
        )  # fmt: skip

    def _failed(self, error: Exception, key: str, seconds: float, limit: str) -> None:
        """Report a failed attempt, `seconds` after the first one of its PUT; `limit` names the limit it reached."""
        if isinstance(error, NotLandedError):
            self._metrics.conflicts.inc()
            if seconds < CONFLICT_SECONDS:
                return
        self._failing.setdefault(threading.get_ident(), monotonic())
        self.last_error = reason_of(error) + limit
        self._metrics.failed(type(error).__name__)
        self._log.warning("PUT failed, will be repeated", key=key, error=self.last_error)
