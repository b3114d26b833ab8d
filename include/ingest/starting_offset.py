"""Where a partition starts (rules 9 and 10 of docs/exactly-once.md). Pure: no clock, no network."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TypeAlias

from include.ingest.partition_writer import ProtocolError
from include.landing.cells import Cells

OWNER = "crypto-lakehouse/1"
"""The metadata of every commit of this program begins with this text."""


def commit_metadata(topic_id: str, records_end: int | None = None) -> str:
    """The metadata of our commits: the program that made them, and the topic.

    A commit after a hole at the log's end also names the offset after the last record (`records_end`). So the next
    consumer knows the hole, and a commit that somebody set by hand looks different.
    """
    return f"{OWNER} {topic_id}" + ("" if records_end is None else f" records-end={records_end}")


def is_ours(metadata: str | None, topic_id: str) -> bool:
    """Whether a commit was made by this program for this topic."""
    return _parse(metadata, topic_id) is not None


def records_end(metadata: str | None, topic_id: str) -> int | None:
    """The offset after the last record before one of our commits, if the commit names it."""
    match = _parse(metadata, topic_id)
    return int(match[1]) if match and match[1] else None


def _parse(metadata: str | None, topic_id: str) -> re.Match[str] | None:
    return re.fullmatch(re.escape(commit_metadata(topic_id)) + r"(?: records-end=(\d{1,19}))?", metadata or "")


class ForeignCommitError(ProtocolError):
    """The group has a commit that this program did not make."""


OffsetRange: TypeAlias = tuple[int, int]
"""First and last offset (inclusive)."""

WINDOW_CELLS_A_PUT = 4
"""Cells of the window for each PUT in flight, so that one slow PUT does not leave the others idle."""
MAX_WINDOW_CELLS = WINDOW_CELLS_A_PUT * 64
"""The window with the largest CONSUMER_PARALLEL_PUTS. Objects may be missing only in this number of last cells."""


def start_from_commit(partition: int, offset: int, metadata: str | None, topic_id: str) -> int | None:
    """The offset to start at after a commit, None if there is no commit (a negative offset).

    Raises:
        ForeignCommitError: the commit has other metadata than ours, so records before it are perhaps not landed.
    """
    if offset < 0:
        return None
    if not is_ours(metadata, topic_id) or (records_end(metadata, topic_id) or 0) > offset:
        raise ForeignCommitError(
            f"partition {partition}: the group's commit {offset} has metadata {metadata!r}, expected "
            f"{commit_metadata(topic_id)!r}: it was not made by this program, so records before it may never have been "
            "landed. Use another KAFKA_GROUP, or adopt it with: python -m include.ingest adopt"
        )
    return offset


def require_landed(partition: int, commit: int, records_end: int | None, landed_end: int) -> None:
    """Hold a commit against the end of what is landed or skipped in S3.

    `records_end` is what the commit names as the end of its records, if it was made after a hole.

    Raises:
        ProtocolError: records before the commit were never landed.
    """
    if landed_end < (commit if records_end is None else records_end):
        raise ProtocolError(
            f"partition {partition}: the group's commit is {commit}, but what is landed ends before offset "
            f"{landed_end}: offsets {landed_end} to {commit - 1} were never landed, so somebody set the commit by hand "
            "(or moved landed objects away). See what is missing and go on at the landed end with: "
            f"python -m include.ingest adopt --partition {partition}"
        )


def still_skipped(skipped: Collection[OffsetRange], landed: Collection[int]) -> list[OffsetRange]:
    """The skipped ranges in which no object begins.

    The other ranges were landed after all: the commit after their gap row failed.
    """
    return [(first, last) for first, last in skipped if not any(first <= offset <= last for offset in landed)]


def complete_to(
    landed: Collection[int], skipped: Collection[OffsetRange], cells: Cells, log_start: int, window_cells: int
) -> int:
    """An offset before which nothing is missing, derived from S3 only. The arguments are as in `start_without_commit`.

    A writer goes less than `window_cells` cells beyond the first cell that it has not finished. So nothing is missing
    before an object that begins at least that many cells before the last object, and nothing before the end of a
    skipped range. The last such place is the answer. The object after it is not such a place: records between the two
    may be missing. Without such a place anything may be missing: the answer is the log's start, or an object before it.
    """
    horizon = cells.rank(max(landed)) - window_cells if landed else -1
    places = [offset for offset in landed if cells.rank(offset) <= horizon]
    places += [last + 1 for _, last in still_skipped(skipped, landed)]
    return max(places) if places else min([log_start, *landed])


def start_without_commit(
    partition: int,
    landed: Collection[int],
    skipped: Collection[OffsetRange],
    cells: Cells,
    log_start: int,
    window_cells: int = MAX_WINDOW_CELLS,
) -> int:
    """Where to start without a commit: nothing is missing before it, and nothing after it is landed a second time.

    `landed` are the first offsets of the partition's objects in S3. `skipped` are the ranges that `adopt` skipped.
    A writer that begins at an object's first offset, or after a skipped range, forms the existing keys once more, since
    the earlier writer began there too. A writer that begins at the log's start forms them if the first object begins a
    cell: then no batch from before the object reaches into it.

    Raises:
        ProtocolError: missing records cannot be read any more, or landing them could land others a second time.
    """
    start = complete_to(landed, skipped, cells, log_start, window_cells)
    first = min(landed, default=start)
    adopt = f"see what is missing and go on with python -m include.ingest adopt --partition {partition}"
    if start < log_start:
        raise ProtocolError(
            f"partition {partition}: the group has no commit, landed objects are complete only up to offset {start} "
            f"and the log now begins at {log_start}: {adopt}"
        )
    if start < first and cells.bounds(first)[0] != first:
        raise ProtocolError(
            f"partition {partition}: the group has no commit, and offsets {start} to {first - 1} may be missing before "
            f"the first landed object, which begins inside a cell, so that a batch of them could overlap it: {adopt}"
        )
    return start
