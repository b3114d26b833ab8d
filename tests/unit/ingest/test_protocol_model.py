"""The protocol in every small history, and the proof that each of its rules is needed.

Each changed writer or function below switches off exactly one rule of docs/exactly-once.md. The search must then find
a record that is lost or doubled.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.ingest.partition_writer import (
    Batch,
    Commit,
    ExistingObject,
    PartitionWriter,
    ProtocolError,
    Put,
    Step,
    _Cell,
)
from include.ingest.starting_offset import OffsetRange, complete_to, start_without_commit
from include.landing.cells import Cells
from tests.unit.ingest.landing_model import Rules, Setup, World, search, wander, wander_until

BAD = frozenset({1})


MANY = max(150, settings().max_examples)  # or the number of the profile, see tests/conftest.py
"""Number of larger histories that are drawn."""


@pytest.mark.parametrize(
    "setup",
    [
        pytest.param(Setup(log=3, log_at_start=2, crashes=1), id="crash, growing log"),
        pytest.param(Setup(log=3, log_at_start=3, crashes=1, rejects=BAD), id="crash, a reject"),
        pytest.param(Setup(log=3, log_at_start=3, stalls=1, rejects=BAD), id="stalled writer, a reject"),
        pytest.param(Setup(log=2, log_at_start=2, stalls=1, lost_answers=1), id="stalled writer, lost answer"),
        pytest.param(Setup(log=3, log_at_start=3, stalls=1, late_commits=1), id="a late commit, perhaps backwards"),
        pytest.param(Setup(log=3, log_at_start=3, revokes=1, lost_answers=1), id="revocation, lost answer"),
        pytest.param(Setup(log=4, log_at_start=4, crashes=1, cell=4), id="one cell of four"),
        pytest.param(Setup(log=4, log_at_start=4, crashes=1, holes=BAD, cell=3), id="crash, a hole"),
        pytest.param(Setup(log=3, log_at_start=3, crashes=1, rejects=frozenset({0, 1})), id="a range of rejects only"),
        pytest.param(Setup(log=3, log_at_start=1, crashes=1, resizes=1, cell=1), id="cells resized"),
        pytest.param(Setup(log=3, log_at_start=3, crashes=1, expiries=1), id="commits gone"),
        pytest.param(Setup(log=4, log_at_start=4, crashes=1, expiries=1, cell=1, holes=BAD), id="commits gone, a hole"),
        pytest.param(Setup(log=4, log_at_start=4, crashes=1, holes=frozenset({2, 3})), id="crash, a hole at the end"),
        pytest.param(Setup(log=4, log_at_start=2, stalls=1, holes=BAD, cell=4), id="stall, a hole while it is the end"),
        pytest.param(Setup(log=3, log_at_start=2, revokes=1, holes=BAD, rejects=frozenset({2})), id="hole, hand-over"),
        pytest.param(Setup(log=4, log_at_start=2, crashes=1, holes=frozenset({0, 1, 3})), id="a hole first and last"),
    ],
)  # fmt: skip
def test_every_small_history_lands_every_record_once_and_can_finish(setup: Setup) -> None:
    outcome = search(setup, cap=20_000, progress=True)
    assert outcome.violation is None, outcome.history
    assert outcome.wedged == 0
    assert outcome.states > 100


class WithoutCells(PartitionWriter):
    """Rule 2 off: only its size bounds a batch, and several batches are in flight."""

    def _cell_of(self, offset: int) -> tuple[int, int]:
        return offset, 10**9


class WithoutDataForEmptyRanges(PartitionWriter):
    """Rule 4 off: a range that has only rejects gets no data object."""

    def _first_step(self, batch: Batch) -> Step:
        return Step.DATA if batch.contents() else Step.DEAD_LETTERS


class WithoutOneInFlight(PartitionWriter):
    """Rule 5 off: all batches of a cell are sent at once."""

    def _startable(self, cell):  # type: ignore[no-untyped-def]
        batches = list(cell.waiting)
        cell.waiting.clear()
        return batches

    def _take_existing(self, batch: Batch, existing: ExistingObject) -> Put | None:
        self._queue.setdefault(batch.cell, _Cell())
        return super()._take_existing(batch, existing)

    def _finish(self, batch: Batch) -> None:
        self._queue.setdefault(batch.cell, _Cell())
        super()._finish(batch)


class WithoutReadingTheLastOffset(PartitionWriter):
    """Rule 6 off: an object that exists already is taken for the writer's own."""

    def _take_existing(self, batch: Batch, existing: ExistingObject) -> Put | None:
        return self._after_data(batch)


class DeadLettersFirst(PartitionWriter):
    """Rule 7 off: the dead letters of a batch are written before its data fixes the range."""

    def _first_step(self, batch: Batch) -> Step:
        return Step.DEAD_LETTERS if batch.rejects else Step.DATA

    def answer(self, put, answer):  # type: ignore[no-untyped-def]
        if not self._is_mine(put):
            return None
        if put.step is Step.DEAD_LETTERS:
            return Put(self.partition, self.assignment, Step.DATA, put.batch)
        if isinstance(answer, ExistingObject):
            return self._take_existing(put.batch, answer)
        self._finish(put.batch)
        return None

    def _has_rejects(self, batch: Batch) -> bool:
        return False


class NoDeadLettersForFoundObjects(PartitionWriter):
    """Rule 7 off: a writer that finds an existing object leaves its dead letters to the other writer."""

    def _has_rejects(self, batch: Batch) -> bool:
        return batch.existing is None and bool(batch.rejects)


class CommitBeyondHoles(PartitionWriter):
    """Rule 8 off: a finished batch is committed, even if a batch before it is still under way."""

    def _advance(self) -> None:
        self.durable = max(end for end, _ in self._finished.values())


class CommitBeforeDeadLetters(PartitionWriter):
    """Rule 8 off: the data object alone allows the commit."""

    def _after_data(self, batch: Batch) -> Put | None:
        following = super()._after_data(batch)
        if following is not None:
            self._finished[batch.begin] = (batch.last + 1, None)
            self._advance()
        return following


class CommitAHoleTooEarly(PartitionWriter):
    """Rule 8 off: a hole at the log's end is committed although records before it are not durable."""

    def _possible_commit(self) -> Commit:
        return Commit(max(self.end, self.durable), None, self.position)


class UntaggedAnswers(PartitionWriter):
    """Rule 11 off: an answer of an earlier assignment is taken for an answer of the present one."""

    def answer(self, put, answer):  # type: ignore[no-untyped-def]
        cell = self._queue.get(put.batch.cell)
        if cell is None or cell.landing is None:
            return None
        return super().answer(Put(self.partition, self.assignment, put.step, cell.landing), answer)


def first_of_the_last_cells(
    partition: int, landed: list[int], skipped: list[OffsetRange], cells: Cells, log_start: int, window_cells: int
) -> int:
    """Rule 9 off: start at the first landed object of the last cells, even if PUTs before it failed."""
    if not landed:
        return log_start
    horizon = cells.rank(max(landed)) - window_cells
    return max(log_start, min(offset for offset in landed if cells.rank(offset) >= horizon))


def with_too_small_a_window(
    partition: int, landed: list[int], skipped: list[OffsetRange], cells: Cells, log_start: int, window_cells: int
) -> int:
    """Rule 9 off: take cells for complete although the window reaches them."""
    return start_without_commit(partition, landed, skipped, cells, log_start, window_cells - 2)


def after_deleted_records(
    partition: int, landed: list[int], skipped: list[OffsetRange], cells: Cells, log_start: int, window_cells: int
) -> int:
    """Rule 9 off: go on at the log's start, even if records before it have not landed."""
    return max(log_start, complete_to(landed, skipped, cells, log_start, window_cells))


def before_an_object_inside_a_cell(
    partition: int, landed: list[int], skipped: list[OffsetRange], cells: Cells, log_start: int, window_cells: int
) -> int:
    """Rule 9 off: go on from the log's start up to a first object that begins inside a cell."""
    start = complete_to(landed, skipped, cells, log_start, window_cells)
    if start < log_start:
        raise ProtocolError("the missing records cannot be read any more")
    return start


SWITCHED_OFF = [
    pytest.param(Setup(rules=Rules(check_contract=False), other_suffix=True, crashes=1), id="1 contract: suffix"),
    pytest.param(Setup(rules=Rules(check_contract=False), other_cell=3, crashes=1), id="1 contract: cell size"),
    pytest.param(Setup(rules=Rules(WithoutCells), crashes=1, log=5, log_at_start=3, batch=2), id="2 cells"),
    pytest.param(Setup(rules=Rules(key_from_record=False), crashes=1), id="3 key from the first record"),
    pytest.param(
        Setup(rules=Rules(WithoutDataForEmptyRanges), rejects=frozenset({0}), crashes=1, stalls=1),
        id="4 every range gets an object",
    ),
    pytest.param(Setup(rules=Rules(WithoutOneInFlight), crashes=1, cell=4), id="5 one PUT a cell"),
    pytest.param(Setup(rules=Rules(create_only=False), stalls=1), id="6 create-only"),
    pytest.param(Setup(rules=Rules(WithoutReadingTheLastOffset), stalls=1), id="6 last offset of the existing object"),
    pytest.param(
        Setup(rules=Rules(DeadLettersFirst), rejects=BAD, stalls=1, crashes=1), id="7 data before dead letters"
    ),
    pytest.param(
        Setup(rules=Rules(NoDeadLettersForFoundObjects), rejects=BAD, crashes=1),
        id="7 dead letters of the existing object",
    ),
    pytest.param(
        Setup(
            rules=Rules(content_decides=False),
            rejects=frozenset({1}),
            other_rejects=frozenset({2}),
            crashes=1,
            stalls=1,
        ),
        id="7 the existing object's content decides",
    ),
    pytest.param(Setup(rules=Rules(CommitBeyondHoles), crashes=1), id="8 contiguous commits"),
    pytest.param(Setup(rules=Rules(CommitBeforeDeadLetters), rejects=BAD, crashes=1), id="8 commit after dead letters"),
    pytest.param(
        Setup(rules=Rules(CommitAHoleTooEarly), crashes=1, holes=frozenset({3})), id="8 a hole after durable records"
    ),
    pytest.param(Setup(rules=Rules(check_metadata=False), foreign_commits=1), id="9 our commits only"),
    pytest.param(
        Setup(rules=Rules(hold_commits=False), crashes=1, commits_by_hand=1), id="9 commits held against what is landed"
    ),
    pytest.param(Setup(rules=Rules(place=first_of_the_last_cells), crashes=1, expiries=1), id="9 start without commit"),
    pytest.param(
        Setup(rules=Rules(place=with_too_small_a_window), crashes=1, expiries=1, cell=1), id="9 the window's reach"
    ),
    pytest.param(
        Setup(rules=Rules(place=after_deleted_records), crashes=1, expiries=1, retention=2),
        id="9 stop at deleted records",
    ),
    pytest.param(
        Setup(
            rules=Rules(place=before_an_object_inside_a_cell),
            crashes=2,
            expiries=2,
            adoptions=1,
            log=6,
            log_at_start=3,
            cell=3,
            batch=2,
        ),
        id="9 stop at an object inside a cell",
    ),
    pytest.param(Setup(rules=Rules(reset_is_error=False), stalls=1, retention=1), id="10 no silent reset"),
    pytest.param(
        Setup(rules=Rules(UntaggedAnswers), stalls=2, crashes=1, cell=4, batch=2),
        id="11 answers tagged by assignment",
    ),
    pytest.param(
        Setup(rules=Rules(resize_needs_stop=False), resizes=1, crashes=1, log=6, log_at_start=2),
        id="12 resize when stopped",
    ),
    pytest.param(Setup(rules=Rules(resize_at_log_end=False), resizes=1, crashes=1), id="12 resize at the log's end"),
]


@pytest.mark.parametrize("setup", SWITCHED_OFF)
def test_switching_a_rule_off_loses_or_doubles_a_record(setup: Setup) -> None:
    assert wander_until(setup, seeds=3000, length=60) is not None


@pytest.mark.parametrize("setup", SWITCHED_OFF)
def test_the_same_histories_with_all_rules_lose_and_double_nothing(setup: Setup) -> None:
    assert wander_until(replace(setup, rules=Rules()), seeds=500, length=60) is None


@settings(max_examples=MANY, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_larger_histories(data: st.DataObject) -> None:
    setup = Setup(
        log=12, log_at_start=data.draw(st.integers(3, 12)),
        rejects=data.draw(st.frozensets(st.integers(0, 11), max_size=5)),
        holes=data.draw(st.frozensets(st.integers(0, 11), max_size=4)),
        cell=data.draw(st.integers(1, 6)), batch=data.draw(st.integers(1, 6)), window=data.draw(st.integers(1, 3)),
        crashes=3, stalls=3, revokes=2, lost_answers=3, resizes=1, expiries=2, late_commits=2, commits_by_hand=1,
    )  # fmt: skip
    setup = Setup(**{**vars(setup), "rejects": setup.rejects - setup.holes})
    wander(setup, lambda count: data.draw(st.integers(0, count - 1)), 80)


def test_retention_up_to_a_hole_at_the_logs_end_stops_nothing() -> None:
    setup = Setup(log=4, log_at_start=4, holes=frozenset({2, 3}), crashes=1, retention=4)
    world = World(setup)
    steps: list[tuple[object, ...]] = [("assign", 0), ("read", 0), ("read", 0), ("put", 0), ("reach", 0), ("commit", 0)]
    for step in [*steps, ("crash", 0), *(("retain", low) for low in (1, 2, 3, 4)), ("assign", 1)]:
        world.do(setup, step)
        world.check(setup)
    assert (world.commit, world.owner) == (4, 1)


@settings(max_examples=MANY, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_larger_histories_with_an_operator(data: st.DataObject) -> None:
    setup = Setup(
        log=12, log_at_start=data.draw(st.integers(3, 12)), rejects=data.draw(st.frozensets(st.integers(0, 11))),
        holes=data.draw(st.frozensets(st.integers(0, 11), max_size=3)), commits_by_hand=1,
        cell=data.draw(st.integers(1, 4)), batch=data.draw(st.integers(1, 4)), window=data.draw(st.integers(1, 3)),
        crashes=4, stalls=1, expiries=2, adoptions=2, foreign_commits=1, retention=data.draw(st.sampled_from([0, 3])),
    )  # fmt: skip
    setup = Setup(**{**vars(setup), "rejects": setup.rejects - setup.holes})
    wander(setup, lambda count: data.draw(st.integers(0, count - 1)), 80)
