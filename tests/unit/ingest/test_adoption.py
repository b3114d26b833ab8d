"""Where `adopt` resets a partition's offset to, and what it skips."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingest.adoption import LandedRange, OperationError, Plan, decide, landed_to
from include.ingest.starting_offset import OffsetRange
from include.landing.cells import Cells

CELLS = Cells.of_size(100)


def objects(*ranges: tuple[int, int]) -> list[LandedRange]:
    return [LandedRange(first, first, last) for first, last in ranges]


def plan(begin: int | None, landed: list[LandedRange], log: tuple[int, int], **arguments: Any) -> Plan:
    defaults: dict[str, Any] = {"offset": None, "committed": 0, "is_ours": True, "cells": CELLS}
    return decide(0, begin=begin, landed=landed, log=log, **(defaults | arguments))


def test_landed_ranges_are_followed_to_the_first_hole() -> None:
    chain = objects((100, 149), (150, 199), (300, 399))
    assert landed_to(chain, 100) == 200
    assert landed_to(chain, 150) == 200
    assert landed_to(chain, 250) == 250
    assert landed_to([], None) is None
    assert landed_to([LandedRange(0, 0, 9), LandedRange(10, 10, 19, ((12, 12),))], 0) == 10
    assert landed_to([LandedRange(0, 0, 9), LandedRange(10, 12, 19)], 0) == 20  # the object accounts for this hole


@pytest.mark.parametrize(
    ("committed", "landed", "low", "offset", "target", "holes"),
    [
        (5, None, 0, None, 5, ()),  # a foreign commit, nothing landed
        (5, None, 8, None, 8, ()),
        (50, 20, 0, None, 20, ()),  # landed data decide, not the commit
        (20, 20, 60, None, 60, ((20, 59),)),  # retention has overtaken the group
        (20, 20, 0, 30, 30, ((20, 29),)),  # the operator skips
    ],
)
def test_the_target_after_a_foreign_commit(
    committed: int, landed: int | None, low: int, offset: int | None, target: int, holes: tuple[OffsetRange, ...]
) -> None:
    ranges = objects((0, landed - 1)) if landed else []
    result = plan(0 if landed else None, ranges, (low, 100), offset=offset, committed=committed, is_ours=False)
    assert (result.target, result.holes) == (target, holes)


@pytest.mark.parametrize("low", [0, 150])
def test_the_target_is_never_inside_an_object(low: int) -> None:
    result = plan(0, objects((100, 199)), (low, 300), offset=None if low else 150)
    assert (result.target, result.holes) == (200, ((0, 99),))


def test_after_a_foreign_commit_the_first_cell_may_be_missing() -> None:
    result = plan(0, objects((100, 199)), (0, 300), committed=250, is_ours=False)
    assert (result.target, result.holes) == (0, ())


def test_the_start_of_a_cell_before_an_object_inside_it_is_skipped() -> None:
    result = plan(0, objects((105, 199)), (0, 300), committed=-1001, is_ours=False)
    assert (result.target, result.holes) == (105, ((0, 104),))


def test_missing_dead_letters_are_skipped_only_on_request() -> None:
    landed = [LandedRange(100, 100, 199, ((120, 120), (170, 171)), "key")]
    with pytest.raises(OperationError, match=r"100 to 199.*--offset 200"):
        plan(0, landed, (150, 300))
    result = plan(0, landed, (150, 300), offset=200)
    assert (result.target, result.skipped) == (200, [(0, 99), (120, 120), (170, 171)])


@pytest.mark.parametrize(("offset", "text"), [(19, "twice"), (101, "outside the log")])
def test_an_impossible_offset_is_refused(offset: int, text: str) -> None:
    with pytest.raises(OperationError, match=text):
        plan(0, objects((0, 19)), (0, 100), offset=offset, committed=20)


@st.composite
def partitions(draw: st.DrawFn) -> tuple[list[LandedRange], int, int]:
    """Objects as writers leave them after a start: in a cell an unbroken chain from its beginning, or nothing."""
    start = draw(st.integers(0, 25))
    landed: list[LandedRange] = []
    for cell in range(6):
        offset, end = max(cell * 10, start), cell * 10 + 10
        while offset < end and draw(st.booleans()):
            last = draw(st.integers(offset, end - 1))
            missing = ((offset, offset),) if draw(st.integers(0, 4)) == 0 else ()
            landed.append(LandedRange(offset, offset, last, missing, "key"))
            offset = last + 1
    return landed, start, draw(st.integers(start, 60))


def offsets_of(*ranges: OffsetRange) -> list[int]:
    return [offset for first, last in ranges for offset in range(first, last + 1)]


@given(partitions(), st.booleans(), st.none() | st.integers(0, 60))
def test_nothing_lands_twice_and_each_skipped_offset_has_one_row(
    partition: tuple[list[LandedRange], int, int], is_ours: bool, offset: int | None
) -> None:
    landed, start, low = partition
    cells = Cells.of_size(10)
    arguments: dict[str, Any] = {"is_ours": is_ours, "cells": cells, "committed": start}
    try:
        result = plan(start, landed, (low, 60), offset=offset, **arguments)
    except OperationError:
        return
    assert result.landed_to is not None
    assert low <= result.target <= 60
    rows = Counter(offsets_of(*result.skipped))
    present = set(offsets_of(*((part.first, part.last) for part in landed)))
    present -= set(offsets_of(*(missing for part in landed for missing in part.missing)))
    for number in range(result.landed_to, result.target):
        assert rows[number] + (number in present) == 1
    assert all(result.landed_to <= number < result.target for number in rows)
    assert_a_writer_lands_nothing_twice(result.target, landed, present, cells)
    after = [replace(part, missing=()) if part in result.incomplete else part for part in landed]
    after += [LandedRange(first, first, last, skipped=True) for first, last in result.holes]
    repeated = plan(start, sorted(after, key=lambda part: part.first), (low, 60), **arguments)
    assert repeated.skipped == []


def assert_a_writer_lands_nothing_twice(
    position: int, landed: list[LandedRange], present: set[int], cells: Cells
) -> None:
    """A writer with the largest batches; it finds the objects that begin where its batches do."""
    by_first = {part.first: part for part in landed}
    while position < 60:
        last = by_first[position].last if position in by_first else cells.bounds(position)[1] - 1
        if position not in by_first:
            assert present.isdisjoint(range(position, last + 1))
        position = last + 1
