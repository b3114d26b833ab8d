"""Which offsets the objects of a day account for, and what is wrong. Pure: no clock, no network.

Every offset from the begin of a partition on belongs to exactly one row: a record, a dead letter, or a hole or gap that
a row names.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from include.audit.manifest import (
    DataObject,
    DeadLetterObject,
    Finding,
    Gap,
    KafkaOffsets,
    Manifest,
    PartitionDay,
    Range,
    partition_day,
)
from include.audit.objects import Landed
from include.landing.layout import parse_key


class Piece(NamedTuple):
    """Offsets that one object accounts for."""

    first: int
    last: int
    key: str


@dataclass(frozen=True, slots=True)
class Accounts:
    """The objects of a day, added up. `findings` are the holes and the overlaps."""

    partitions: tuple[PartitionDay, ...]
    rejects: dict[str, int]
    gaps: tuple[Gap, ...]
    findings: tuple[Finding, ...]


def pieces_of(entry: Landed) -> list[Piece]:
    """The offsets of one object."""
    if isinstance(entry, DataObject):
        return [Piece(first, last, entry.key) for first, last in entry.ranges]
    return [Piece(row[0], row[1], entry.key) for row in entry.rows]


def partition_of(key: str) -> int:
    """The partition in the key of a landed object."""
    name = parse_key(key)
    return -1 if name is None else name.partition


def add_up(
    data: Sequence[DataObject], letters: Sequence[DeadLetterObject], before: Mapping[int, int],
    kafka: Mapping[int, KafkaOffsets],
) -> Accounts:  # fmt: skip
    """Add up the objects of one day. `before` has the end of each partition on the day before (offset after the last).

    A partition without such an end begins at its first offset of the day.
    """
    by_partition: dict[int, tuple[list[DataObject], list[DeadLetterObject]]] = defaultdict(lambda: ([], []))
    for item in data:
        by_partition[partition_of(item.key)][0].append(item)
    for letter in letters:
        by_partition[partition_of(letter.key)][1].append(letter)
    days, findings = [], list[Finding]()
    for number in sorted({*by_partition, *before, *kafka}):
        own = by_partition[number]
        pieces = sorted(piece for item in own for entry in item for piece in pieces_of(entry))
        end, wrong = walk(number, pieces, before.get(number))
        begin = before.get(number, pieces[0].first if pieces else end)
        days.append(partition_day(number, begin, end, *own, kafka.get(number)))
        findings += wrong
    rows = [(letter, row) for letter in letters for row in letter.rows]
    rejects = Counter(row[2] for _, row in rows if row[2] != "gap")
    gaps = tuple(
        Gap(partition_of(letter.key), row[0], row[1], row[3], letter.key) for letter, row in rows if row[2] == "gap"
    )
    return Accounts(tuple(days), dict(sorted(rejects.items())), gaps, tuple(findings))


def walk(partition: int, pieces: Sequence[Piece], begin: int | None) -> tuple[int, list[Finding]]:
    """Follow the sorted pieces of a partition from `begin`; the offset after the last, and each hole and overlap."""
    findings: list[Finding] = []
    expected, previous, twins = begin, "", set[tuple[str, str]]()
    for piece in pieces:
        if expected is not None and piece.first > expected:
            after = f"{previous or 'the day before'} and {piece.key}"
            text = f"no object accounts for these offsets, between {after}"
            findings.append(Finding("hole", text, "", partition, expected, piece.first - 1))
        if expected is not None and piece.first < expected and (previous, piece.key) not in twins:
            twins.add((previous, piece.key))
            text = f"{previous or 'the day before'} accounts for these offsets too"
            last = min(piece.last, expected - 1)
            findings.append(Finding("doubled", text, piece.key, partition, piece.first, last))
        if expected is None or piece.last >= expected:
            expected, previous = piece.last + 1, piece.key
    return expected or 0, findings


def changes(known: Manifest, entries: Mapping[str, Landed]) -> tuple[list[Finding], list[tuple[int, Range]]]:
    """How the objects differ from those of the manifest, and the offsets that these differences explain."""
    findings, explained = list[Finding](), list[tuple[int, Range]]()
    listed = {item.key: item for item in known.landed()}
    for key, item in listed.items():
        now, number = entries.get(key), partition_of(key)
        if now is not None and now.sha256 == item.sha256:
            continue
        ranges = [(piece.first, piece.last) for piece in pieces_of(item)]
        explained += [(number, part) for part in ranges]
        span = (ranges[0][0], ranges[-1][1]) if ranges else (None, None)
        if now is None:
            text = f"the manifest has it, with ETag {item.etag}"
            findings.append(Finding("missing", text, key, number, *span))
        else:
            text = f"its content differs: the manifest has ETag {item.etag} and {item.size} bytes, now {now.etag} and "
            findings.append(Finding("altered", f"{text}{now.size} bytes", key, number, *span))
    for key in entries.keys() - listed.keys():
        text = "it is not in the manifest of its day: it was landed, or put there, after the audit"
        findings.append(Finding("foreign", text, key, partition_of(key)))
    return findings, explained


def unexplained(findings: Iterable[Finding], explained: Sequence[tuple[int, Range]]) -> list[Finding]:
    """The findings without the holes that a missing or altered object explains."""
    by_partition: dict[int, list[Range]] = defaultdict(list)
    for number, part in explained:
        by_partition[number].append(part)
    return [finding for finding in findings if finding.kind != "hole" or not _covered(finding, by_partition)]


def _covered(hole: Finding, ranges: Mapping[int, Sequence[Range]]) -> bool:
    position = hole.first or 0
    for first, last in sorted(ranges.get(hole.partition or 0, ())):
        if first <= position <= last:
            position = last + 1
    return position > (hole.last or 0)


def beyond_landed(ends: Mapping[int, int], kafka: Mapping[int, KafkaOffsets]) -> list[Finding]:
    """The commits that are after what is landed. `ends` has the offset after the newest landed record."""
    findings = []
    for number, offsets in kafka.items():
        needed = offsets.committed if offsets.records_end is None else offsets.records_end
        end = ends.get(number, needed or 0)
        if needed is not None and end < needed:
            text = f"the group's commit is {offsets.committed}, but what is landed ends before {end}"
            findings.append(Finding("hole", text, "", number, end, needed - 1))
    return findings


def open_partitions(
    kafka: Mapping[int, KafkaOffsets] | None, seen: Iterable[int], later: Mapping[int, int]
) -> list[int]:
    """The partitions whose day may still get objects.

    `later` has the first offset of a later day by partition. A day is closed for a partition if the group's commit is
    at or after that offset, or at the log's end: everything before a commit is landed. Without Kafka the later object
    has to be enough.
    """
    if kafka is None:
        return sorted(set(seen) - set(later))
    closed = set()
    for number, offsets in kafka.items():
        committed = offsets.begin if offsets.committed is None else offsets.committed
        if committed >= offsets.end or committed >= later.get(number, offsets.end):
            closed.add(number)
    return sorted(set(kafka) - closed)
