"""Where `adopt` resets a partition's offset to, and which offsets that skips. Pure: no clock, no network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from include.ingest.starting_offset import OffsetRange
from include.landing.cells import Cells


class OperationError(RuntimeError):
    """The operation must not be carried out; the text says why."""


@dataclass(frozen=True, slots=True)
class LandedRange:
    """Offsets that are accounted for: a data object's, or those that an earlier `adopt` skipped. All are inclusive.

    `first` is the first record. `begin` is before it if the object's dead letters begin with a gap. No row holds the
    `missing` offsets, because the object's dead letters are missing. Their key would be `dead_letters`.
    """

    begin: int
    first: int
    last: int
    missing: tuple[OffsetRange, ...] = ()
    dead_letters: str = ""
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What adopting does to a partition: it commits `target` and skips the `holes` before the target.

    It also skips the missing offsets of the `incomplete` objects before the target, whose dead letters are gone.
    """

    partition: int
    committed: int
    committed_is_ours: bool
    log_start: int
    log_end: int
    landed_to: int | None
    target: int
    holes: tuple[OffsetRange, ...] = ()
    incomplete: tuple[LandedRange, ...] = ()

    @property
    def skipped(self) -> list[OffsetRange]:
        """All offset ranges that are skipped, in order."""
        return sorted([*self.holes, *(offsets for part in self.incomplete for offsets in part.missing)])


def decide(
    partition: int,
    *,
    committed: int,
    is_ours: bool,
    log: tuple[int, int],
    begin: int | None,
    landed: list[LandedRange],
    cells: Cells,
    offset: int | None,
) -> Plan:
    """Where the partition goes on. `log` is (log start, high watermark); `begin` and `landed` are as of `landed_to`.

    Raises:
        OperationError: the wanted offset would land a record twice, or is outside the log. Or no `offset` is given,
            and dead letters whose messages Kafka still holds would be skipped.
    """
    low, high = log
    end = landed_to(landed, begin)
    wanted = max(low, committed if end is None else end) if offset is None else offset
    if not low <= wanted <= high:
        raise OperationError(f"partition {partition}: offset {wanted} is outside the log ({low} to {high})")
    if end is not None and wanted < end:
        raise OperationError(
            f"partition {partition}: offset {wanted} is landed already (all before {end}): going back would land "
            f"records twice; the smallest offset allowed is {end}"
        )
    target = wanted if is_ours and wanted == end else _safe_start(wanted, landed, cells)
    if end is None:
        return Plan(partition, committed, is_ours, low, high, end, target)
    incomplete = tuple(part for part in landed if part.missing and end <= part.last < target)
    readable = next((part for part in incomplete if part.last >= low), None)
    if offset is None and readable is not None:
        raise OperationError(
            f"partition {partition}: the dead letters of the object of offsets {readable.first} to {readable.last} are "
            f"missing and it cannot be landed again from {low} on: save the records that Kafka still holds and the "
            f"object does not, then skip them with --partition {partition} --offset {target}"
        )
    return Plan(partition, committed, is_ours, low, high, end, target, _holes(landed, end, target), incomplete)


def is_landed(committed: int, records_end: int | None, landed: list[LandedRange]) -> bool:
    """Whether what is landed reaches our commit `committed`; if not, somebody set it by hand, and it says nothing.

    The commit names its `records_end` if offsets before it have no record. Without anything landed it is believed.
    """
    needed = committed if records_end is None else records_end
    return needed <= max((part.last + 1 for part in landed), default=needed)


def landed_to(landed: list[LandedRange], begin: int | None) -> int | None:
    """First offset after `begin` that is not accounted for; None when nothing is landed.

    `landed` is sorted. Everything before `begin` is accounted for.
    """
    position = begin
    for part in landed:
        if position is None or part.last < position:
            continue
        if part.begin > position or part.missing:
            break
        position = part.last + 1
    return position


def _safe_start(target: int, landed: list[LandedRange], cells: Cells) -> int:
    """The first offset from `target` on at which a writer can begin without landing anything twice.

    It is not inside landed or skipped offsets. It is also not before an object that begins inside a cell, if offsets
    of that cell before the object are unaccounted for: a batch of them could overlap the object.
    """
    end = 0
    for part in landed:
        if part.last >= target:
            free = max(end, target, cells.bounds(part.first)[0])
            if part.skipped:
                target = part.last + 1 if part.begin <= target else target
            elif part.first < target:
                target = part.last + 1
            elif free < part.begin:
                target = part.first
        end = max(end, part.last + 1)
    return target


def _holes(landed: list[LandedRange], start: int, target: int) -> tuple[OffsetRange, ...]:
    """The offset ranges between `start` and `target` that are unaccounted for."""
    holes = []
    for part in landed:
        if part.last >= start and start < target:
            if part.begin > start:
                holes.append((start, min(part.begin, target) - 1))
            start = part.last + 1
    if start < target:
        holes.append((start, target - 1))
    return tuple(holes)


def missing_ranges(present: set[int], first: int, last: int) -> tuple[OffsetRange, ...]:
    """The offset ranges of `first` to `last` that are not `present`."""
    edges = sorted({first - 1, last + 1} | {offset for offset in present if first <= offset <= last})
    return tuple((before + 1, after - 1) for before, after in pairwise(edges) if after - before > 1)
