"""Holds the group's commits against what is landed, in a thread of its own (rule 9 of docs/exactly-once.md).

A commit that somebody set by hand, with our metadata, may be after records that were never landed. Until the newest
landed object of a partition is known, nothing of the partition is landed or committed. This costs one LIST request if
the partition landed something within the last hour. Only a commit that no recent object explains lists everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import TypeGuard

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from include.ingest.background import Task
from include.ingest.health import Pending
from include.ingest.listing import Listing, read_metadata
from include.ingest.logs import logger
from include.ingest.partition_writer import ProtocolError
from include.ingest.starting_offset import OffsetRange, require_landed
from include.landing.layout import ObjectKey, parse_key, start_after
from include.reasons import reason_of
from include.settings import StorageSettings

LOOKS = (timedelta(hours=1), timedelta(days=1), None)
"""How far back the newest object of a partition is looked for; None: everything."""
FIRST_RETRY_SECONDS, RETRY_SECONDS = 0.1, 2.0
READERS = 16
"""Objects whose metadata are read at once."""


@dataclass(frozen=True, slots=True)
class HeldCommit:
    """The commit at which a partition starts, as `start_from_commit` and `records_end` give it."""

    partition: int
    offset: int
    records_end: int | None


class CommitCheck:
    """Checks each partition once in a process: while the group has members, nobody else can set a commit."""

    def __init__(
        self, store: S3Store, storage: StorageSettings, topic_id: str, clock: Callable[[], float] = monotonic
    ) -> None:
        """`clock` is monotonic, in seconds."""
        self._pending = Pending(clock)
        self._store = store
        self._storage = storage
        self._topic_id = topic_id
        self._log = logger("commits")
        self._held: dict[int, HeldCommit] = {}
        self._landed: set[int] = set()
        self._inbox: SimpleQueue[list[HeldCommit] | None] = SimpleQueue()
        self._outbox: SimpleQueue[tuple[HeldCommit, str]] = SimpleQueue()
        self._closing = threading.Event()
        threading.Thread(target=self._run, name="commits", daemon=True).start()

    # --- for the loop -----------------------------------------------------------

    def begin(self, commits: Iterable[HeldCommit]) -> None:
        """Check the commits of partitions that were not checked yet."""
        new = [commit for commit in commits if commit.partition not in self._landed and commit.offset > 0]
        if new:
            self._held |= {commit.partition: commit for commit in new}
            self._inbox.put(new)

    def is_held(self, partition: int) -> bool:
        """Whether the partition's commit is not checked yet, so that nothing may be landed."""
        return partition in self._held

    def forget(self, partition: int) -> None:
        """Drop a partition that is not assigned any more."""
        self._held.pop(partition, None)

    def holes(self) -> dict[int, str]:
        """Take the results: why partitions must stop. The others are not held any more."""
        stopped = {}
        while not self._outbox.empty():
            commit, reason = self._outbox.get()
            if self._held.get(commit.partition) is not commit:
                continue  # the partition was revoked meanwhile
            if reason:
                stopped[commit.partition] = reason
            else:
                self._landed.add(commit.partition)
            del self._held[commit.partition]
        return stopped

    def problems(self) -> list[str]:
        """Why partitions are held, if that takes long; any thread may ask."""
        return self._pending.problems()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._inbox.put(None)

    # --- the thread -------------------------------------------------------------

    def _run(self) -> None:
        waiting, delay = dict[int, HeldCommit](), FIRST_RETRY_SECONDS
        while self._receive(waiting):
            try:
                self._check(waiting)
                delay = FIRST_RETRY_SECONDS
            except (BaseError, OSError) as error:
                self._pending.begin(f"landing waits: S3 does not say what is landed: {reason_of(error)}")
                self._log.warning("landing waits: S3 does not answer", reason=reason_of(error))
                self._closing.wait(delay)
                delay = min(2 * delay, RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the thread must not die silently: its partitions stop
                self._log.exception("commits could not be checked", partitions=sorted(waiting))
                for number in list(waiting):
                    reason = f"partition {number}: the group's commit could not be checked: {reason_of(error)}"
                    self._report(waiting.pop(number), reason)

    def _receive(self, waiting: dict[int, HeldCommit]) -> bool:
        """Put new commits into `waiting`, and take out those of partitions that moved away. False: the thread ends.

        One partition that S3 does not answer about must not delay those that come later. Without any this waits.
        """
        while True:
            for number in [number for number, commit in waiting.items() if self._held.get(number) is not commit]:
                del waiting[number]
            if not waiting:
                self._pending.end()
            elif self._inbox.empty():
                return not self._closing.is_set()
            commits = self._inbox.get()
            if commits is None:
                return False
            waiting |= {commit.partition: commit for commit in commits}
            self._pending.begin("landing waits: the group's commits are held against what is landed")

    def _check(self, waiting: dict[int, HeldCommit]) -> None:
        """Check commits, and take out those that are done. Only what recent objects do not explain is looked for on."""
        newest, holes = dict[int, str](), dict[int, str]()
        for look in LOOKS:
            newest = self._newest(waiting.keys(), look)
            ends = dict.fromkeys(waiting, 0) | self._ends(newest)  # 0: nothing is landed
            failed = next((end for end in ends.values() if isinstance(end, BaseError | OSError)), None)
            holes = {number: _hole(waiting[number], end) for number, end in ends.items() if _is_known(end)}
            for number in [number for number, hole in holes.items() if not hole]:
                self._report(waiting.pop(number), "")
            if failed is not None:
                raise failed
            if not waiting:
                return
        for number, ranges in self._skipped(waiting.keys()).items():
            hole = holes[number]
            if isinstance(ranges, ProtocolError):
                hole = str(ranges)
            elif ranges:
                hole = _hole(waiting[number], max(last for _, last in ranges) + 1)
            elif number not in newest:
                hole = ""  # nothing was ever landed that the commit could be held against
            self._report(waiting.pop(number), hole)

    def _report(self, commit: HeldCommit, hole: str) -> None:
        self._outbox.put((commit, hole))

    def _ends(self, paths: dict[int, str]) -> dict[int, int | Exception]:
        """What `_end` says of each partition's object. Threads that wait for S3 do not keep the process alive."""
        ends: dict[int, int | Exception] = {}
        numbers = list(paths)
        for begin in range(0, len(numbers), READERS):
            reading = {
                number: Task("commit", partial(self._end, paths[number])) for number in numbers[begin : begin + READERS]
            }
            for number, task in reading.items():
                task.done(None)
                ends[number] = task.result()
        return ends

    def _end(self, path: str) -> int | Exception:
        """The offset after the object at `path`, or the error with which S3 or the object answers."""
        try:
            return read_metadata(self._store, path).last_offset + 1
        except (ProtocolError, BaseError, OSError) as error:
            return error

    def _newest(self, partitions: Iterable[int], look: timedelta | None) -> dict[int, str]:
        """Path of the data object with the greatest first offset of each partition."""
        prefix, wanted = self._storage.data_prefix, set(partitions)
        since = None if look is None else start_after(prefix, "crypto_data", datetime.now(UTC) - look)
        newest: dict[int, tuple[ObjectKey, str]] = {}
        for chunk in obstore.list(self._store, prefix=prefix, offset=since):
            if self._closing.is_set():
                raise InterruptedError("the check was ended")
            for path in (entry["path"] for entry in chunk):
                key = parse_key(path)
                if key is not None and key.kind == "crypto_data" and key.partition in wanted:
                    before = newest.get(key.partition)
                    if before is None or before[0].first_offset < key.first_offset:
                        newest[key.partition] = (key, path)
        return {partition: path for partition, (_, path) in newest.items()}

    def _skipped(self, partitions: Iterable[int]) -> dict[int, list[OffsetRange] | ProtocolError]:
        """The ranges of each partition that `adopt` skipped."""
        listing = Listing(self._store, self._storage, self._topic_id, dict.fromkeys(partitions, 0))
        while not listing.wait(RETRY_SECONDS):
            if self._closing.is_set():
                listing.cancel()
        listing.check()
        ranges: dict[int, list[OffsetRange] | ProtocolError] = {}
        for number in listing.assignments:
            try:
                ranges[number] = listing.skipped(number)
            except ProtocolError as error:
                ranges[number] = error
        return ranges


def _is_known(end: int | Exception) -> TypeGuard[int | ProtocolError]:
    return isinstance(end, int | ProtocolError)


def _hole(commit: HeldCommit, end: int | ProtocolError) -> str:
    """Why a partition must stop whose landed objects end before offset `end`; empty if nothing is missing."""
    try:
        if isinstance(end, ProtocolError):
            raise end
        require_landed(commit.partition, commit.offset, commit.records_end, end)
    except ProtocolError as error:
        return str(error)
    return ""
