"""The landing protocol of one assigned partition, as pure code: no clock, no network.

`PartitionWriter` alone decides which records make a file, which PUT may start, what an answer of S3 means, and which
offset may be committed. The consumer feeds it and carries out its PUTs. The model checker in tests/unit/ingest drives
the same class. The argument for exactly-once is docs/exactly-once.md; the rule numbers below are those of that page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Any, Literal, TypeAlias

from include.landing.cells import Cells
from include.landing.codec import COORDINATES_BYTES, Codec
from include.landing.dead_letter import DeadLetter

DAY_MS = 86_400_000
TIMESTAMP_BYTES = 40
"""Memory of a buffered record besides its content: a timestamp and its list slot."""
PART_BYTES = 250
"""Memory of a part besides its records: three objects and a list slot (measured on CPython 3.11)."""
ROW_BYTES, TEXT_BYTES, HEADER_BYTES, GAP_BYTES = 450, 50, 180, 160
"""Memory of a dead-letter row besides its texts, of a text and a header besides their characters, and of a gap."""

Reason = Literal["records", "bytes", "cell", "day", "age", "memory", "revoked", "shutdown"]


class ProtocolError(RuntimeError):
    """An assumption of the protocol does not hold; the partition must stop."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A batch closes at the first of three limits. `in_flight` limits the PUTs, `window_cells` the cells they span."""

    records: int
    size_bytes: int
    age_seconds: float
    window_cells: int
    in_flight: int = 10**9


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets `first` to `last` (inclusive) without a record. The hole belongs to the record after it.

    It is no loss: Kafka refuses to read before its log's start, so these offsets were in the log when they were read.
    They are transaction markers, or records of an aborted transaction.
    """

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ExistingObject:
    """An object that exists already under the key of a batch.

    `offsets` are those of its rows. They are needed only if the object has rejects: only they show which records its
    writer rejected.
    """

    topic_id: str
    partition: int
    first_offset: int
    last_offset: int
    rejected: int
    offsets: frozenset[int] | None = None


@dataclass(slots=True, eq=False)
class Part:
    """Records at consecutive offsets, the first at `offset`, with one timestamp (ms) each.

    `content` is their part of the data object, as the codec made it. A rejected record is a part by itself, without
    content.
    """

    offset: int
    timestamps: list[int]
    content: bytes | None

    @property
    def last(self) -> int:
        """Offset of the last record."""
        return self.offset + len(self.timestamps) - 1

    def cut(self, last: int, codec: Codec) -> tuple[Part, Part]:
        """The records up to offset `last`, and those after it. Both have some, so the part is not a reject."""
        assert self.content is not None
        count = last + 1 - self.offset
        kept, rest = codec.cut(self.content, count)
        return Part(self.offset, self.timestamps[:count], kept), Part(last + 1, self.timestamps[count:], rest)


class Batch:
    """The records of one file: consecutive records of one cell, as parts.

    `begin` is where the previous batch ended: the offset of the first record, or of the gap before it. `first`, `last`
    and `count` include rejected records. `timestamp` is Kafka's of the first record (ms); it and `first` make the key.
    `rejects` pairs the offset of a rejected record with its dead-letter row, or with the hole before it. `holes` pairs
    the offset of an accepted record with the hole before it; the record's row in the data object names that hole.
    `size` is the batch's memory in bytes. `existing` is the object that another attempt landed under the key.
    """

    __slots__ = (
        "begin", "cell", "count", "day_end", "epoch", "existing", "first", "holes", "last", "limit", "opened_at",
        "parts", "reason", "rejects", "size", "timestamp",
    )  # fmt: skip

    def __init__(self, begin: int, first: int, timestamp: int, cell: int, limit: int, opened_at: float) -> None:
        self.begin = begin
        self.first = self.last = first
        self.timestamp = timestamp
        self.cell = cell
        self.limit: int = limit
        self.opened_at = opened_at
        self.count = 0
        self.parts: list[Part] = []
        self.rejects: list[tuple[int, Any]] = []
        self.holes: list[tuple[int, Any]] = []
        self.size = 0
        self.epoch: int | None = None
        self.day_end: float = (timestamp // DAY_MS + 1) * DAY_MS
        self.reason: Reason | None = None
        self.existing: ExistingObject | None = None

    def add(self, parts: list[Part]) -> None:
        """Append parts."""
        self.parts += parts
        self.count += sum(len(part.timestamps) for part in parts)
        self.last = parts[-1].last

    def contents(self) -> list[bytes]:
        """The parts of the data object, in order."""
        return [part.content for part in self.parts if part.content is not None]

    def accepted(self) -> int:
        """Number of records in the data object."""
        return sum(len(part.timestamps) for part in self.parts if part.content is not None)

    def offsets(self) -> list[int]:
        """Every record's offset."""
        return [offset for part in self.parts for offset in range(part.offset, part.last + 1)]

    def part_of(self, offset: int) -> Part:
        """The part that holds the record at `offset`."""
        return next(part for part in self.parts if part.offset <= offset <= part.last)


class Step(Enum):
    """The two objects of a batch, in the order in which they are written (rule 7)."""

    DATA = "data"
    DEAD_LETTERS = "dead_letters"


@dataclass(frozen=True, slots=True)
class Put:
    """A PUT that may start now. `assignment` tags its answer (rule 11)."""

    partition: int
    assignment: int
    step: Step
    batch: Batch


@dataclass(frozen=True, slots=True)
class Created:
    """The object did not exist and now holds what was sent."""


Answer: TypeAlias = Created | ExistingObject


@dataclass(frozen=True, slots=True)
class Commit:
    """All records before `offset` are durable; `epoch` is the leader epoch at the offset before it.

    `records_end` is the offset after the last of these records if a hole is between the two, otherwise None.
    """

    offset: int
    epoch: int | None
    records_end: int | None = None


@dataclass(slots=True, eq=False)
class _Cell:
    """Batches of one cell: the batch that is being landed, and the closed batches after it."""

    landing: Batch | None = None
    waiting: deque[Batch] = field(default_factory=deque)


class PartitionWriter:
    """Decides about one partition during one assignment. All records before `start` are durable.

    `position` is the offset after the last record taken. Kafka has no record from there up to `end`, as far as is
    known. `durable` is the first offset that is not yet safe in S3. `buffered` is the memory held, in bytes.
    """

    def __init__(
        self, topic_id: str, partition: int, assignment: int, start: int, cells: Cells, limits: Limits, codec: Codec,
        prefix: bytes, records_end: int | None = None,
    ) -> None:  # fmt: skip
        """`prefix` is the codec's for this partition; `records_end` is that of the commit at `start`."""
        self.topic_id = topic_id
        self.partition = partition
        self.assignment = assignment
        self.start = start
        self.end = start
        self.position = self.durable = start if records_end is None else records_end
        self.buffered = 0
        self.in_flight = 0
        self.open: Batch | None = None
        self.sealed = False
        self._cells = cells
        self._limits = limits
        self._codec = codec
        self._prefix = prefix
        self._record_bytes = len(prefix) + COORDINATES_BYTES + TIMESTAMP_BYTES
        self._queue: dict[int, _Cell] = {}
        self._finished: dict[int, tuple[int, int | None]] = {}
        self._completed: list[Batch] = []  # batches whose existing object's last record has been read
        self._uncounted: list[Batch] = []
        self._committed = start
        self._epoch: int | None = None
        self._end_epoch: int | None = None

    # --- records in -----------------------------------------------------------

    def feed(
        self, offset: int, timestamps: list[int], messages: Sequence[bytes], epoch: int | None, now: float
    ) -> None:
        """Take valid messages at consecutive offsets from `offset` on, of one leader epoch.

        A message is a JSON object on one line. Offsets below `position` are left out: they were taken before, and
        Kafka repeats records after a seek. `now` is a monotonic time in seconds.
        """
        taken, count = max(0, self.position - offset), len(messages)
        if taken >= count:
            return
        size = sum(map(len, messages)) + self._record_bytes * count
        while taken < count and not self.sealed:
            first = offset + taken
            batch = self._batch_of(first, timestamps[taken], now)
            hole = 0 if first == self.position else self._skip_hole(batch, batch.holes, first)
            end = taken + self._fitting(batch, timestamps, messages, taken, size)
            times = timestamps[taken:end]
            content = self._codec.join(self._prefix, first, times, messages[taken:end], hole)
            self._append(batch, Part(first, times, content), TIMESTAMP_BYTES * len(times) + len(content), epoch)
            taken = end

    def reject(self, offset: int, timestamp: int, row: Any, epoch: int | None, now: float) -> None:
        """Take a record that is not for the data object: `row` is its dead letter. Otherwise like `feed`."""
        if offset < self.position or self.sealed:
            return
        batch = self._batch_of(offset, timestamp, now)
        if offset != self.position:
            self._skip_hole(batch, batch.rejects, offset)
        batch.rejects.append((offset, row))
        self._append(batch, Part(offset, [timestamp], None), TIMESTAMP_BYTES + self._row_size(row), epoch)

    def reach(self, end: int, epoch: int | None) -> None:
        """Take Kafka's word that it has no record from `position` up to `end`; `epoch` is the leader epoch there.

        Raises:
            ProtocolError: an object holds a record that Kafka does not have.
        """
        if self.sealed or end <= self.next_offset:
            return
        if self.open is not None and self.open.existing is not None and self.open.existing.last_offset < end:
            raise self._missing_record(self.open.existing, end)
        self.end, self._end_epoch = end, epoch

    def _batch_of(self, offset: int, timestamp: int, now: float) -> Batch:
        """The batch for the record at `offset`, opened if necessary."""
        batch = self.open
        if batch is None or offset >= batch.limit or timestamp >= batch.day_end:
            batch = self._begin(offset, timestamp, now)
        return batch

    def _skip_hole(self, batch: Batch, kept: list[tuple[int, Any]], offset: int) -> int:
        """Move `position` to the record at `offset`, and keep the hole before it; returns the hole's length."""
        hole = offset - self.position
        kept.append((offset, Gap(self.position, offset - 1)))
        batch.size += GAP_BYTES
        self.buffered += GAP_BYTES
        self.position = offset
        return hole

    def _fitting(self, batch: Batch, timestamps: list[int], messages: Sequence[bytes], at: int, size: int) -> int:
        """Number of messages from index `at` on that fit into `batch`, at least 1. `size`: bytes of all `messages`."""
        count = min(len(messages) - at, batch.limit - self.position)
        if batch.existing is not None:
            return count  # the batch must end where the existing object ends
        count = min(count, self._limits.records - batch.count)
        times = timestamps[at : at + count]
        if max(times) >= batch.day_end:
            count = next(index for index, time in enumerate(times) if time >= batch.day_end)
        room = self._limits.size_bytes - batch.size - PART_BYTES
        if size >= room:
            for index in range(count):
                room -= len(messages[at + index]) + self._record_bytes
                if room <= 0:
                    return index + 1
        return count

    def _append(self, batch: Batch, part: Part, size: int, epoch: int | None) -> None:
        """Add records from `position` on to the open batch, and close the batch if it is full."""
        batch.add([part])
        batch.size += size + PART_BYTES
        batch.epoch = epoch
        self.buffered += size + PART_BYTES
        self.position = part.last + 1
        if self.position == batch.limit:
            self.close_open("cell")
        elif batch.count >= self._limits.records:
            self.close_open("records")
        elif batch.size >= self._limits.size_bytes:
            self.close_open("bytes")

    def _begin(self, offset: int, timestamp: int, now: float) -> Batch:
        """Open the batch whose first record is at `offset` (rules 2 and 3)."""
        if self.open is not None:
            if self.open.existing is not None:
                raise self._missing_record(self.open.existing, offset)
            self.close_open("cell" if offset >= self.open.limit else "day")
        batch = Batch(self.position, offset, timestamp, *self._cell_of(offset), now)
        self.open = batch
        return batch

    def _cell_of(self, offset: int) -> tuple[int, int]:
        """Rank and end of the cell that holds `offset` (rule 2)."""
        return self._cells.rank(offset), self._cells.bounds(offset)[1]

    @staticmethod
    def _row_size(row: Any) -> int:
        """Memory of a dead-letter row, whose key, payload and headers are base64."""
        if not isinstance(row, DeadLetter):
            return ROW_BYTES
        texts = TEXT_BYTES + len(row.key or "") + TEXT_BYTES + len(row.payload or "") + len(row.error)
        return ROW_BYTES + texts + sum(HEADER_BYTES + len(name) + len(value or "") for name, value in row.headers)

    def close_open(self, reason: Reason) -> None:
        """Close the open batch, if any; its PUT may start when the cell is free.

        A batch with an existing object ends exactly where that object ends, so only its own last record closes it.
        """
        batch = self.open
        if batch is None:
            return
        if batch.existing is None:
            self.open = None
            batch.reason = reason
            self._queue.setdefault(batch.cell, _Cell()).waiting.append(batch)
        elif self.position == batch.limit:
            self.open = None
            self._completed.append(batch)

    def close_old(self, now: float) -> None:
        """Close the open batch if it has reached the age limit."""
        if self.open is not None and now - self.open.opened_at >= self._limits.age_seconds:
            self.close_open("age")

    def seal(self, reason: Reason) -> None:
        """Take no more records, and land those that are there (rule 11)."""
        self.close_open(reason)
        self.sealed = True

    # --- PUTs out -------------------------------------------------------------

    def puts(self) -> list[Put]:
        """PUTs that may start now; each is returned once.

        A cell has at most one at a time, in order (rule 5). The cells are at most `window_cells` from the first cell
        that is not finished.
        """
        puts: list[Put] = []
        for batch in self._completed:
            following = self._after_data(batch)
            if following is not None:
                puts.append(following)
        self._completed.clear()
        horizon: float = inf
        for rank, cell in self._queue.items():
            if rank >= horizon or self.in_flight >= self._limits.in_flight:
                break
            if horizon == inf:
                horizon = rank + self._limits.window_cells
            for batch in self._startable(cell):
                cell.landing = batch
                self.in_flight += 1
                puts.append(Put(self.partition, self.assignment, self._first_step(batch), batch))
        return puts

    def _startable(self, cell: _Cell) -> list[Batch]:
        """The next batch of a cell, once its predecessor is durable (rule 5)."""
        return [cell.waiting.popleft()] if cell.landing is None and cell.waiting else []

    def _first_step(self, _batch: Batch) -> Step:
        """The data object comes first, even an empty one: only it fixes the range (rules 4 and 7)."""
        return Step.DATA

    # --- answers in -----------------------------------------------------------

    def answer(self, put: Put, answer: Answer) -> Put | None:
        """Take S3's answer to a PUT. Returns the PUT that follows it in the same cell, if any.

        Raises:
            ProtocolError: a writer of this protocol cannot have made the existing object.
        """
        if not self._is_mine(put):
            return None
        if put.step is Step.DEAD_LETTERS:
            self._finish(put.batch)
            return None
        if isinstance(answer, ExistingObject):
            return self._take_existing(put.batch, answer)
        return self._after_data(put.batch)

    def _is_mine(self, put: Put) -> bool:
        """Whether an answer belongs to this assignment (rule 11)."""
        return put.assignment == self.assignment

    def _take_existing(self, batch: Batch, existing: ExistingObject) -> Put | None:
        """Another writer, or a PUT of ours whose answer was lost, landed this key first: its range counts (rule 6)."""
        self._check(batch, existing)
        self._resize(batch, existing.last_offset)
        batch.existing = existing
        if existing.rejected == 0:
            self._release_content(batch)
        if batch.last < existing.last_offset:  # the object holds records that we have not read yet: wait for them
            if self.next_offset > existing.last_offset:
                raise self._missing_record(existing, self.next_offset)
            batch.limit = existing.last_offset + 1
            batch.day_end = inf
            self.open = batch
            return None
        return self._after_data(batch)

    def _check(self, batch: Batch, existing: ExistingObject) -> None:
        """Refuse an object that a writer of this protocol cannot have written here."""
        where = f"partition {self.partition}, offset {batch.first}"
        if (existing.topic_id, existing.partition) != (self.topic_id, self.partition):
            raise ProtocolError(
                f"{where}: the object there is of topic id {existing.topic_id}, partition {existing.partition}, "
                f"expected {self.topic_id}, {self.partition}: the prefix holds another topic's data; use another "
                "S3_DATA_PREFIX, S3_DEAD_LETTER_PREFIX and S3_STATE_PREFIX"
            )
        _, end = self._cells.bounds(batch.first)
        if existing.first_offset != batch.first or not batch.first <= existing.last_offset < end:
            raise ProtocolError(
                f"{where}: the object there says it holds {existing.first_offset} to {existing.last_offset}, which is "
                f"not inside its cell (it ends before {end}): it was not landed under this contract; move it away"
            )

    def _missing_record(self, existing: ExistingObject, offset: int) -> ProtocolError:
        return ProtocolError(
            f"partition {self.partition}: the object of offset {existing.first_offset} ends at offset "
            f"{existing.last_offset}, but Kafka has no such record (next: {offset}): the log was truncated or "
            "compacted; cleanup.policy must be delete and unclean leader election off"
        )

    def _resize(self, batch: Batch, last: int) -> None:
        """Move records between `batch` and its followers in the cell: it ends at `last`, or at the last record read."""
        cell = self._queue[batch.cell]
        if batch.last > last:
            cell.waiting.appendleft(self._split(batch, last))
            return
        while cell.waiting and batch.last < last and cell.waiting[0].first <= last:
            follower = cell.waiting.popleft()
            if follower.last > last:
                cell.waiting.appendleft(self._split(follower, last))
            self._join(batch, follower)
        if self.open is not None and batch.last < last and self.open.first <= last:
            follower, self.open = self.open, None
            if follower.last > last:
                self.open = self._split(follower, last)
            self._join(batch, follower)

    def _split(self, batch: Batch, last: int) -> Batch:
        """Cut the records after `last` off `batch`; they become another batch."""
        kept = [part for part in batch.parts if part.last <= last]
        rest = [part for part in batch.parts if part.offset > last]
        if len(kept) + len(rest) < len(batch.parts):
            head, tail = batch.parts[len(kept)].cut(last, self._codec)
            kept, rest = [*kept, head], [tail, *rest]
        total = batch.count
        batch.parts, batch.count = [], 0
        batch.add(kept)
        split = Batch(last + 1, rest[0].offset, rest[0].timestamps[0], batch.cell, batch.limit, batch.opened_at)
        split.add(rest)
        split.rejects, split.holes = (
            [pair for pair in pairs if pair[0] > last] for pairs in (batch.rejects, batch.holes)
        )
        batch.rejects, batch.holes = (
            [pair for pair in pairs if pair[0] <= last] for pairs in (batch.rejects, batch.holes)
        )
        split.size = batch.size * split.count // total
        batch.size -= split.size
        split.epoch, batch.epoch = batch.epoch, None  # the epoch of a record in the middle is not known
        split.reason = batch.reason
        return split

    @staticmethod
    def _join(batch: Batch, follower: Batch) -> None:
        """Append `follower`'s records to `batch`."""
        batch.add(follower.parts)
        batch.rejects += follower.rejects
        batch.holes += follower.holes
        batch.size += follower.size
        batch.epoch = follower.epoch

    def _release_content(self, batch: Batch) -> None:
        """Free the memory of records that are landed already."""
        for part in batch.parts:
            part.content = None
        self.buffered -= batch.size
        batch.size = 0

    def _after_data(self, batch: Batch) -> Put | None:
        """The batch's range is fixed: return the PUT of its dead letters, or finish a batch without any (rule 7)."""
        if self._has_rejects(batch):
            return Put(self.partition, self.assignment, Step.DEAD_LETTERS, batch)
        self._finish(batch)
        return None

    def _has_rejects(self, batch: Batch) -> bool:
        return bool(batch.rejects) if batch.existing is None else batch.existing.rejected > 0

    def _finish(self, batch: Batch) -> None:
        """Data and dead letters are durable: free the cell, move the durable offset if it is contiguous (rule 8)."""
        cell = self._queue[batch.cell]
        cell.landing = None
        self.in_flight -= 1
        self.buffered -= batch.size
        if not cell.waiting:
            del self._queue[batch.cell]
        self._finished[batch.begin] = (batch.last + 1, batch.epoch)
        self._uncounted.append(batch)
        self._advance()

    def _advance(self) -> None:
        """Move `durable` over all finished batches up to the first hole (rule 8)."""
        while self.durable in self._finished:
            self.durable, self._epoch = self._finished.pop(self.durable)

    # --- commits out ----------------------------------------------------------

    def commit(self) -> Commit | None:
        """The commit that is possible now, if it is beyond the last one (rule 8)."""
        commit = self._possible_commit()
        if commit.offset <= self._committed:
            return None
        self._committed = commit.offset
        return commit

    def _possible_commit(self) -> Commit:
        """Everything that is durable, and the hole after it if no record is between: then nothing is left to read."""
        if self.end > self.durable == self.position:
            return Commit(self.end, self._end_epoch, self.durable)
        return Commit(self.durable, self._epoch)

    def commit_failed(self) -> None:
        """The last commit did not reach Kafka: let `commit` return it again."""
        self._committed = self.start

    # --- state for the loop ---------------------------------------------------

    def take_finished(self) -> list[Batch]:
        """Batches that became durable since the last call."""
        finished, self._uncounted = self._uncounted, []
        return finished

    @property
    def next_offset(self) -> int:
        """The offset to read next."""
        return max(self.position, self.end)

    @property
    def busy(self) -> bool:
        """Whether a PUT is in flight or waits: memory will be freed without reading on."""
        waits_for_records = self.open is not None and self.open.existing is not None
        return len(self._queue) > int(waits_for_records)

    @property
    def flushed(self) -> bool:
        """Whether each record taken is durable, or is in an existing object whose other records are not read yet."""
        if self.open is None:
            return not self._queue
        return self.open.existing is not None and self.in_flight == 1 and len(self._queue) == 1


def rows_to_land(batch: Batch) -> list[tuple[int, Any]]:
    """Offsets and rows of a batch's dead letters: exactly the rejects inside its final range (rule 7).

    If the object existed, its content decides, not our own validation: its writer rejected each record that the object
    does not hold. The row is None if we would have accepted that record. A hole has a row only before a rejected
    record. Writers up to release 0.1.0 counted each hole as a row; then each hole of the batch has one.
    """
    if batch.existing is None or batch.existing.offsets is None:
        return list(batch.rejects)
    rows = {offset: row for offset, row in batch.rejects if not isinstance(row, Gap)}
    holes = [pair for pair in (*batch.rejects, *batch.holes) if isinstance(pair[1], Gap)]
    missing = {offset: rows.get(offset) for offset in batch.offsets() if offset not in batch.existing.offsets}
    gaps = [pair for pair in holes if pair[0] in missing]
    if len(missing) + len(gaps) < batch.existing.rejected:
        gaps = holes
    return sorted([*gaps, *missing.items()], key=lambda pair: pair[0])
