"""Batching: why a batch closes, what waits for what, what is committed."""

from __future__ import annotations

import os
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingest.partition_writer import (
    DAY_MS,
    PART_BYTES,
    Batch,
    Commit,
    Created,
    Gap,
    Landed,
    Lane,
    Limits,
    ProtocolError,
    Put,
    Step,
    rows_to_land,
)
from include.ingest.starting_offset import ForeignCommitError, commit_mark, start_from_commit, start_without_commit
from include.landing import body
from include.landing.cells import Cells
from include.landing.dead_letter import DeadLetter, rejected_message


def lane(start: int = 0, *, cell: int = 10, records: int = 10, size: int = 10**9, window: int = 4) -> Lane:
    return Lane("id", 0, 1, start, Cells.of_size(cell), Limits(records, size, 60.0, window), b"")


def feed(to: Lane, *offsets: int, time: int = 0, now: float = 0.0, bad: tuple[int, ...] = ()) -> None:
    for offset in offsets:
        if offset in bad:
            to.reject(offset, time, "row", 7, now)
        else:
            to.feed(offset, [time], [b"x" * 100], 7, now)


def ranges(puts: list[Put]) -> list[tuple[int, int]]:
    return [(put.batch.first, put.batch.last) for put in puts]


def test_a_batch_ends_with_its_cell() -> None:
    it = lane(start=7)
    feed(it, *range(7, 25))
    assert ranges(it.puts()) == [(7, 9), (10, 19)]


def test_a_batch_closes_by_records_bytes_age_and_a_later_day() -> None:
    it = lane(records=2)
    feed(it, 0, 1, 2)
    assert ranges(it.puts()) == [(0, 1)]
    it = lane()
    feed(it, 0)
    record = it.buffered  # one in a part of its own
    it = lane(size=2 * record + 1)
    feed(it, 0, 1, 2)
    assert ranges(it.puts()) == [(0, 2)]
    it = lane()
    feed(it, 0, now=100.0)
    it.close_old(159.0)
    assert it.puts() == []
    it.close_old(160.0)
    assert ranges(it.puts()) == [(0, 0)]
    it = lane()
    feed(it, 0, time=DAY_MS - 1)
    feed(it, 1, time=DAY_MS - 5)
    feed(it, 2, time=DAY_MS)
    assert ranges(it.puts()) == [(0, 1)]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(400, 6000), st.integers(1, 60))
def test_a_batch_closed_by_bytes_has_them_and_had_them_not_without_its_last_record(
    sizes: list[int], limit: int, chunk: int
) -> None:
    it = lane(cell=1000, records=1000, size=limit)
    records = [b"x" * size for size in sizes]
    closed: list[Batch] = []
    for begin in range(0, len(records), chunk):
        piece = records[begin : begin + chunk]
        it.feed(begin, [0] * len(piece), piece, 7, 0.0)
        for put in it.puts():  # each of the one cell, as soon as it is closed
            closed.append(put.batch)
            it.answer(put, Created())
    assert it.position == len(records)
    for batch in closed:
        assert batch.reason == "bytes"
        assert batch.size >= limit
        assert batch.size - (max(sizes) + it._record_bytes + PART_BYTES) < limit


def test_one_chunk_is_cut_into_batches_by_bytes() -> None:
    it = lane(cell=1000, records=1000, size=1000)
    it.feed(0, [0] * 100, [b"x" * 100] * 100, 7, 0.0)
    counts = []
    while found := it.puts():
        counts += [put.batch.count for put in found]
        for put in found:
            it.answer(put, Created())
    assert set(counts) == {5}
    assert sum(counts) == it.position == 100


def test_the_memory_of_records_is_counted_with_what_a_line_costs() -> None:
    it = Lane("id", 0, 1, 10**12, Cells.of_size(1000), Limits(1000, 10**9, 60.0, 4), body.line_start("quotes", 3))
    values = [os.urandom(20).hex().encode() for _ in range(500)]
    tracemalloc.start()
    for begin in range(0, 500, 10):
        times = [1_764_028_800_000 + begin + number for number in range(10)]
        it.feed(10**12 + begin, times, values[begin : begin + 10], 7, 0.0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held <= it.buffered <= 1.1 * held


def test_the_memory_of_rejects_is_counted_with_keys_headers_and_what_a_row_costs() -> None:
    def letter(offset: int) -> DeadLetter:
        headers = [(f"{offset}-{number}", os.urandom(40)) for number in range(20)]
        return rejected_message(
            topic="t", partition=0, offset=offset, timestamp=0, error_class="empty", error=f"no value {offset}",
            key=os.urandom(3000), value=None, headers=[*headers, ("large", os.urandom(65_536)), ("none", None)],
        )  # fmt: skip

    it = lane(cell=1000, records=1000)
    tracemalloc.start()
    for offset in range(300, 400):
        it.reject(2 * offset, 0, letter(offset), 7, 0.0)  # a gap before each
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held <= it.buffered <= 1.1 * held
    it.seal("shutdown")
    (put,) = it.puts()
    following = it.answer(put, Created())
    assert following is not None
    it.answer(following, Created())
    assert it.buffered == 0


def test_one_put_a_cell_and_a_window_of_cells() -> None:
    it = lane(records=5, window=2)
    feed(it, *range(40))
    first, second = it.puts()
    assert ranges([first, second]) == [(0, 4), (10, 14)]
    it.answer(second, Created())
    assert ranges(it.puts()) == [(15, 19)]
    assert it.commit() is None
    it.answer(first, Created())
    assert it.commit() == Commit(5, 7)
    assert ranges(it.puts()) == [(5, 9)]


def test_an_existing_shorter_object_leaves_the_rest_to_a_new_batch() -> None:
    it = lane()
    feed(it, *range(10))
    (put,) = it.puts()
    it.answer(put, Landed("id", 0, 0, 6, 0))
    assert it.commit() == Commit(7, None)
    assert ranges(it.puts()) == [(7, 9)]


def test_an_existing_longer_object_takes_over_what_follows() -> None:
    it = lane(records=2)
    feed(it, *range(5))
    (put,) = it.puts()
    it.answer(put, Landed("id", 0, 0, 6, 0))
    assert it.commit() is None
    assert it.settled
    feed(it, 5, 6, 7)
    assert it.puts() == []
    assert it.commit() == Commit(7, 7)
    it.close_open("age")
    assert ranges(it.puts()) == [(7, 7)]


def test_dead_letters_follow_the_data_and_hold_exactly_its_rejects() -> None:
    it = lane()
    feed(it, *range(10), bad=(2, 8))
    (put,) = it.puts()
    following = it.answer(put, Landed("id", 0, 0, 6, 2, frozenset({0, 1, 2, 4, 5})))
    assert following is not None
    assert following.step is Step.DEAD_LETTERS
    assert rows_to_land(following.batch) == [(3, None), (6, None)]
    assert it.commit() is None
    it.answer(following, Created())
    assert it.commit() is not None


def test_a_hole_becomes_a_gap_row_of_the_record_behind_it() -> None:
    it = lane(start=3)
    feed(it, 3, 4, 17, 18)
    it.close_open("age")
    puts = it.puts()
    assert ranges(puts) == [(3, 4), (17, 18)]
    assert rows_to_land(puts[1].batch) == [(17, Gap(5, 16))]
    following = it.answer(puts[1], Created())
    assert following is not None
    it.answer(following, Created())
    it.answer(puts[0], Created())
    assert it.commit() == Commit(19, 7)


@pytest.mark.parametrize(
    "found",
    [
        Landed("other", 0, 0, 5, 0),
        Landed("id", 1, 0, 5, 0),
        Landed("id", 0, 1, 5, 0),
        Landed("id", 0, 0, 10, 0),
    ],
)
def test_an_object_that_cannot_be_ours_stops_the_partition(found: Landed) -> None:
    it = lane()
    feed(it, *range(10))
    (put,) = it.puts()
    with pytest.raises(ProtocolError):
        it.answer(put, found)


def test_a_record_that_vanished_stops_the_partition() -> None:
    it = lane()
    feed(it, 0, 1)
    it.close_open("age")
    (put,) = it.puts()
    it.answer(put, Landed("id", 0, 0, 4, 0))
    feed(it, 2)
    with pytest.raises(ProtocolError, match="truncated"):
        feed(it, 11)


def test_answers_of_another_assignment_are_not_heard() -> None:
    it = lane()
    feed(it, *range(10))
    (put,) = it.puts()
    assert it.answer(Put(0, 99, put.step, put.batch), Created()) is None
    assert it.durable == 0


def test_a_sealed_lane_takes_nothing() -> None:
    it = lane()
    feed(it, 0)
    it.seal("revoked")
    feed(it, 1)
    assert ranges(it.puts()) == [(0, 0)]


@given(st.data())
def test_batches_are_contiguous_inside_cells_and_commit_everything(data: st.DataObject) -> None:
    cell = data.draw(st.integers(1, 12))
    start = data.draw(st.integers(0, 30))
    it = lane(start, cell=cell, records=data.draw(st.integers(1, cell)), window=data.draw(st.integers(1, 4)))
    offsets = sorted(data.draw(st.sets(st.integers(start, start + 60), min_size=1)))
    flying: list[Put] = []
    landed: list[tuple[int, int]] = []
    for offset in offsets:
        feed(it, offset, bad=(offset,) * data.draw(st.integers(0, 1)))
        flying += it.puts()
        if len(flying) and data.draw(st.integers(0, 1)):
            _land(it, flying, landed, data.draw(st.integers(0, len(flying) - 1)))
    it.seal("shutdown")
    flying += it.puts()
    while flying:
        _land(it, flying, landed, data.draw(st.integers(0, len(flying) - 1)))
        flying += it.puts()
    assert it.settled
    assert it.durable == offsets[-1] + 1
    assert it.buffered == it.in_flight == 0
    for first, last in landed:
        assert first // cell == last // cell
    landed.sort()
    assert [offset for first, last in landed for offset in offsets if first <= offset <= last] == offsets


@given(st.data())
def test_a_run_is_taken_like_its_records_one_by_one(data: st.DataObject) -> None:
    cell = data.draw(st.integers(1, 12))
    limits = {"cell": cell, "records": data.draw(st.integers(1, cell))}
    whole, single = lane(3, **limits), lane(3, **limits)
    for start, length in data.draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 25)), max_size=6)):
        values = [b"x" * size for size in data.draw(st.lists(st.integers(1, 400), min_size=length, max_size=length))]
        times = data.draw(st.lists(st.integers(DAY_MS - 2, DAY_MS + 1), min_size=length, max_size=length))
        whole.feed(start, times, values, 7, 0.0)
        for index in range(length):
            single.feed(start + index, times[index : index + 1], values[index : index + 1], 7, 0.0)
        puts, others = whole.puts(), single.puts()
        assert [contents(put.batch) for put in puts] == [contents(put.batch) for put in others]
        if puts and puts[0].batch.first < puts[0].batch.last:  # another writer's object ends earlier: cut there
            found = Landed("id", 0, puts[0].batch.first, puts[0].batch.first, 0)
            whole.answer(puts[0], found)
            single.answer(others[0], found)
    for it in (whole, single):
        it.seal("shutdown")
    assert [contents(put.batch) for put in whole.puts()] == [contents(put.batch) for put in single.puts()]
    assert (whole.position, whole.durable) == (single.position, single.durable)


def contents(batch: Batch) -> tuple[object, ...]:
    return (
        batch.begin, batch.first, batch.timestamp, batch.last, batch.count, batch.offsets(), b",\n".join(batch.lines()),
        batch.rejects, batch.epoch, batch.reason,
    )  # fmt: skip


def _land(it: Lane, flying: list[Put], landed: list[tuple[int, int]], index: int) -> None:
    put = flying.pop(index)
    if put.step is Step.DATA:
        landed.append((put.batch.first, put.batch.last))
    following = it.answer(put, Created())
    if following is not None:
        flying.append(following)


def test_only_our_own_commits_are_a_start() -> None:
    assert start_from_commit(0, -1001, None, "id") is None
    assert start_from_commit(0, 5, commit_mark("id"), "id") == 5
    for metadata in (None, "", "other", commit_mark("recreated")):
        with pytest.raises(ForeignCommitError, match="adopt"):
            start_from_commit(0, 5, metadata, "id")


@pytest.mark.parametrize(
    ("landed", "given_up", "log_start", "start"),
    [
        ([], [], 17, 17),
        ([10, 20], [], 0, 0),  # [0..9] may have failed while these landed
        ([10, 20], [], 7, 7),  # what retention left of it
        ([10, 20], [], 10, 10),
        ([13, 20], [], 13, 13),  # the log began there when it was first read
        ([0, 10, 25, 9990], [], 0, 25),  # [26..9989] may be an aborted transaction, and may not
        ([0, 7420, 7435, 7440, 9990], [], 0, 7435),  # of 256 cells before the last, one is complete
        ([0, 7425, 7440, 9990], [], 0, 7425),
        ([0, 25, 9990], [(30, 9979)], 0, 9980),  # [9980..9989] is missing
        ([0, 25, 9990], [(30, 9989)], 0, 9990),
        ([0, 25, 50], [(30, 59)], 0, 0),  # landed after all
        ([], [(0, 29)], 0, 30),
    ],
)
def test_without_a_commit_the_start_lies_before_anything_that_may_be_missing(
    landed: list[int], given_up: list[tuple[int, int]], log_start: int, start: int
) -> None:
    assert start_without_commit(0, landed, given_up, Cells.of_size(10), log_start) == start


@pytest.mark.parametrize(
    ("landed", "given_up", "log_start", "text"),
    [
        ([0, 7430, 9990], [], 7431, "complete only up to offset 7430"),
        ([10, 20], [], 11, "complete only up to offset 10"),
        ([13, 20], [], 0, "offsets 0 to 12 may be missing"),  # a batch [10..19] would double 13
        ([], [(0, 29)], 31, "complete only up to offset 30"),
    ],
)
def test_without_a_commit_an_operator_decides_where_something_would_be_lost_or_doubled(
    landed: list[int], given_up: list[tuple[int, int]], log_start: int, text: str
) -> None:
    with pytest.raises(ProtocolError, match=f"{text}.*adopt --partition 0"):
        start_without_commit(0, landed, given_up, Cells.of_size(10), log_start)
