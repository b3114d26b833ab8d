"""Where a partition starts (rules 9 and 10 of docs/exactly-once.md). Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from include.ingest.partition_writer import ProtocolError
from include.landing.cells import Cells

MARK = "crypto-lakehouse/1"
"""Begins the metadata of every commit of ours."""


def commit_mark(topic_id: str) -> str:
    """The metadata of a commit: whose it is, and of which topic."""
    return f"{MARK} {topic_id}"


class ForeignCommitError(ProtocolError):
    """The group has a commit that this program did not make."""


Stretch: TypeAlias = tuple[int, int]
"""First and last offset (inclusive) of what an operator gave up with `adopt`."""

WINDOW_CELLS_A_PUT = 4
"""Cells of the window for each PUT in flight, so that one slow PUT does not leave the others idle."""
MAX_WINDOW_CELLS = WINDOW_CELLS_A_PUT * 64
"""With the largest CONSUMER_PARALLEL_PUTS: objects may be missing only among the last so many cells."""


def start_from_commit(partition: int, offset: int, metadata: str | None, topic_id: str) -> int | None:
    """Where to start after a commit, None when there is none (a negative offset).

    Raises:
        ForeignCommitError: the commit does not bear our mark, so nothing says that all before it is landed.
    """
    if offset < 0:
        return None
    if metadata != commit_mark(topic_id):
        raise ForeignCommitError(
            f"partition {partition}: the group's commit {offset} has metadata {metadata!r}, expected "
            f"{commit_mark(topic_id)!r}: it was not made by this program, so records before it may never have been "
            "landed. Use another KAFKA_GROUP, or adopt it with: python -m include.ingest adopt"
        )
    return offset


def still_given_up(stretches: Collection[Stretch], landed: Collection[int]) -> list[Stretch]:
    """Those in which no object begins: another was landed after all, since the commit behind its gap row failed."""
    return [(first, last) for first, last in stretches if not any(first <= offset <= last for offset in landed)]


def complete_to(
    landed: Collection[int], given_up: Collection[Stretch], cells: Cells, log_start: int, window_cells: int
) -> int:
    """An offset before which nothing is missing, by S3 alone; the arguments are those of `start_without_commit`.

    A writer goes less than `window_cells` cells beyond the first one that it has not finished. So nothing is missing
    before an object that begins that many cells before the last one, or more; nor before the end of what was given
    up. The last such place is the answer. The object after it is none: what lies between may be missing. Where there
    is no such place, anything may be missing, from the log's start on.
    """
    horizon = cells.rank(max(landed)) - window_cells if landed else -1
    places = [offset for offset in landed if cells.rank(offset) <= horizon]
    places += [last + 1 for _, last in still_given_up(given_up, landed)]
    return max(places) if places else min([log_start, *landed])


def start_without_commit(
    partition: int,
    landed: Collection[int],
    given_up: Collection[Stretch],
    cells: Cells,
    log_start: int,
    window_cells: int = MAX_WINDOW_CELLS,
) -> int:
    """Where to start without a commit: nothing is missing before it, and nothing behind it is landed a second time.

    `landed` are the first offsets of the partition's objects in S3, `given_up` what `adopt` gave up. From an object's
    beginning and from behind what was given up the keys that exist are formed again, since their writer began there
    too. From the log's start they are if the first object begins a cell: no batch from before it reaches into it.

    Raises:
        ProtocolError: what is missing cannot be read any more, or landing it could land more a second time.
    """
    start = complete_to(landed, given_up, cells, log_start, window_cells)
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
