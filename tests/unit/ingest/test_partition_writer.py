"""Batching: the reasons to close a batch, the order of PUTs, and the commits."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingest.partition_writer import (
    DAY_MS,
    PART_BYTES,
    Batch,
    Commit,
    Created,
    ExistingObject,
    Gap,
    Limits,
    PartitionWriter,
    ProtocolError,
    Put,
    Step,
    rows_to_land,
)
from include.landing.body import PLAIN
from include.landing.cells import Cells
from include.landing.dead_letter import DeadLetter, rejected_message


def new_writer(
    start: int = 0, *, cell: int = 10, records: int = 10, size: int = 10**9, window: int = 4
) -> PartitionWriter:
    return PartitionWriter("id", 0, 1, start, Cells.of_size(cell), Limits(records, size, 60.0, window), PLAIN, b"")


def feed(to: PartitionWriter, *offsets: int, time: int = 0, now: float = 0.0, bad: tuple[int, ...] = ()) -> None:
    for offset in offsets:
        if offset in bad:
            to.reject(offset, time, "row", 7, now)
        else:
            to.feed(offset, [time], [b"x" * 100], 7, now)


def ranges(puts: list[Put]) -> list[tuple[int, int]]:
    return [(put.batch.first, put.batch.last) for put in puts]


def test_a_batch_ends_with_its_cell() -> None:
    writer = new_writer(start=7)
    feed(writer, *range(7, 25))
    assert ranges(writer.puts()) == [(7, 9), (10, 19)]


def test_a_batch_closes_by_records_bytes_age_and_a_later_day() -> None:
    writer = new_writer(records=2)
    feed(writer, 0, 1, 2)
    assert ranges(writer.puts()) == [(0, 1)]
    writer = new_writer()
    feed(writer, 0)
    record = writer.buffered  # bytes of one record as a part of its own
    writer = new_writer(size=2 * record + 1)
    feed(writer, 0, 1, 2)
    assert ranges(writer.puts()) == [(0, 2)]
    writer = new_writer()
    feed(writer, 0, now=100.0)
    writer.close_old(159.0)
    assert writer.puts() == []
    writer.close_old(160.0)
    assert ranges(writer.puts()) == [(0, 0)]
    writer = new_writer()
    feed(writer, 0, time=DAY_MS - 1)
    feed(writer, 1, time=DAY_MS - 5)
    feed(writer, 2, time=DAY_MS)
    assert ranges(writer.puts()) == [(0, 1)]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(400, 6000), st.integers(1, 60))
def test_a_batch_closed_by_bytes_reaches_the_limit_with_its_last_record(
    sizes: list[int], limit: int, chunk: int
) -> None:
    writer = new_writer(cell=1000, records=1000, size=limit)
    records = [b"x" * size for size in sizes]
    closed: list[Batch] = []
    for begin in range(0, len(records), chunk):
        piece = records[begin : begin + chunk]
        writer.feed(begin, [0] * len(piece), piece, 7, 0.0)
        for put in writer.puts():  # all batches are of one cell, so each is landed before the next
            closed.append(put.batch)
            writer.answer(put, Created())
    assert writer.position == len(records)
    for batch in closed:
        assert batch.reason == "bytes"
        assert batch.size >= limit
        assert batch.size - (max(sizes) + writer._record_bytes + PART_BYTES) < limit


def test_one_chunk_is_cut_into_batches_by_bytes() -> None:
    writer = new_writer(cell=1000, records=1000, size=1000)
    writer.feed(0, [0] * 100, [b"x" * 100] * 100, 7, 0.0)
    counts = []
    while puts := writer.puts():
        counts += [put.batch.count for put in puts]
        for put in puts:
            writer.answer(put, Created())
    assert set(counts) == {5}
    assert sum(counts) == writer.position == 100


@contextmanager
def traced_memory() -> Iterator[Callable[[], int]]:
    """Gives the bytes that this file, the writer and its codec hold. Threads that other tests left do not count."""
    ours = [tracemalloc.Filter(True, name) for name in (__file__, "*/partition_writer.py", "*/include/landing/*")]

    def held() -> int:
        return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(ours).traces)

    tracemalloc.start()
    try:
        yield held
    finally:
        tracemalloc.stop()


def test_the_memory_of_records_is_counted_with_timestamps_and_parts() -> None:
    prefix = PLAIN.prefix("quotes", 3)
    writer = PartitionWriter("id", 0, 1, 10**12, Cells.of_size(1000), Limits(1000, 10**9, 60.0, 4), PLAIN, prefix)
    values = [os.urandom(20).hex().encode() for _ in range(500)]
    with traced_memory() as held_bytes:
        for begin in range(0, 500, 10):
            times = [1_764_028_800_000 + begin + number for number in range(10)]
            writer.feed(10**12 + begin, times, values[begin : begin + 10], 7, 0.0)
        held = held_bytes()
    assert held <= writer.buffered <= 1.1 * held


def test_the_memory_of_rejects_is_counted_with_keys_and_headers() -> None:
    def letter(offset: int) -> DeadLetter:
        headers = [(f"{offset}-{number}", os.urandom(40)) for number in range(20)]
        return rejected_message(
            topic="t", partition=0, offset=offset, timestamp=0, error_class="empty", error=f"no value {offset}",
            key=os.urandom(3000), value=None, headers=[*headers, ("large", os.urandom(65_536)), ("none", None)],
        )  # fmt: skip

    writer = new_writer(cell=1000, records=1000)
    with traced_memory() as held_bytes:
        for offset in range(300, 400):
            writer.reject(2 * offset, 0, letter(offset), 7, 0.0)  # a gap before each
        held = held_bytes()
    assert held <= writer.buffered <= 1.1 * held
    writer.seal("shutdown")
    (put,) = writer.puts()
    following = writer.answer(put, Created())
    assert following is not None
    writer.answer(following, Created())
    assert writer.buffered == 0


def test_one_put_a_cell_and_a_window_of_cells() -> None:
    writer = new_writer(records=5, window=2)
    feed(writer, *range(40))
    first, second = writer.puts()
    assert ranges([first, second]) == [(0, 4), (10, 14)]
    writer.answer(second, Created())
    assert ranges(writer.puts()) == [(15, 19)]
    assert writer.commit() is None
    writer.answer(first, Created())
    assert writer.commit() == Commit(5, 7)
    assert ranges(writer.puts()) == [(5, 9)]


def test_an_existing_shorter_object_leaves_the_rest_to_a_new_batch() -> None:
    writer = new_writer()
    feed(writer, *range(10))
    (put,) = writer.puts()
    writer.answer(put, ExistingObject("id", 0, 0, 6, 0))
    assert writer.commit() == Commit(7, None)
    assert ranges(writer.puts()) == [(7, 9)]


def test_an_existing_longer_object_takes_over_what_follows() -> None:
    writer = new_writer(records=2)
    feed(writer, *range(5))
    (put,) = writer.puts()
    writer.answer(put, ExistingObject("id", 0, 0, 6, 0))
    assert writer.commit() is None
    assert writer.flushed
    feed(writer, 5, 6, 7)
    assert writer.puts() == []
    assert writer.commit() == Commit(7, 7)
    writer.close_open("age")
    assert ranges(writer.puts()) == [(7, 7)]


def test_dead_letters_follow_the_data_and_hold_exactly_its_rejects() -> None:
    writer = new_writer()
    feed(writer, *range(10), bad=(2, 8))
    (put,) = writer.puts()
    following = writer.answer(put, ExistingObject("id", 0, 0, 6, 2, frozenset({0, 1, 2, 4, 5})))
    assert following is not None
    assert following.step is Step.DEAD_LETTERS
    assert rows_to_land(following.batch) == [(3, None), (6, None)]
    assert writer.commit() is None
    writer.answer(following, Created())
    assert writer.commit() is not None


def test_a_hole_is_named_by_the_record_after_it_and_needs_no_dead_letter() -> None:
    writer = PartitionWriter("id", 0, 1, 3, Cells.of_size(10), Limits(10, 10**9, 60.0, 4), PLAIN, PLAIN.prefix("t", 0))
    writer.feed(3, [0, 0], [b"{}", b"{}"], 7, 0.0)
    writer.feed(17, [0, 0], [b'{"a":1}', b'{"a":2}'], 7, 0.0)
    writer.close_open("age")
    puts = writer.puts()
    assert [(put.batch.begin, put.batch.first, put.batch.last) for put in puts] == [(3, 3, 4), (5, 17, 18)]
    (content,) = puts[1].batch.contents()
    assert [row.get("_hole") for row in PLAIN.decode(PLAIN.encode([content]))] == [12, None]
    assert [PLAIN.message(content, index) for index in (0, 1)] == [b'{"a":1}', b'{"a":2}']
    assert b"_hole" not in b"".join(puts[0].batch.contents())
    assert [writer.answer(put, Created()) for put in reversed(puts)] == [None, None]
    assert writer.commit() == Commit(19, 7)


def test_a_hole_before_a_rejected_record_is_a_row_beside_it() -> None:
    writer = new_writer(start=3)
    feed(writer, 5, 8, bad=(8,))
    writer.close_open("age")
    (put,) = writer.puts()
    assert rows_to_land(put.batch) == [(8, Gap(6, 7)), (8, "row")]


@pytest.mark.parametrize(
    ("landed", "rejected", "rows"),
    [
        pytest.param({3, 6, 10}, 2, [(8, Gap(7, 7)), (8, None)], id="the hole before a record that it rejected"),
        pytest.param({3, 8, 10}, 2, [(6, Gap(4, 5)), (6, "row")], id="the same record as ours"),
        pytest.param(
            {3, 6, 8, 10}, 3, [(6, Gap(4, 5)), (8, Gap(7, 7)), (10, Gap(9, 9))], id="release 0.1.0: a row for each hole"
        ),
    ],
)
def test_the_dead_letters_of_a_found_object_have_the_holes_that_it_counts(
    landed: set[int], rejected: int, rows: list[tuple[int, object]]
) -> None:
    writer = new_writer(start=3, cell=20)
    feed(writer, 3, 6, 8, 10, bad=(6,))
    writer.close_open("age")
    (put,) = writer.puts()
    assert writer.answer(put, ExistingObject("id", 0, 3, 10, rejected, frozenset(landed))) is not None
    assert rows_to_land(put.batch) == rows


def test_a_hole_at_the_logs_end_is_committed_when_all_before_it_is_durable() -> None:
    writer = new_writer()
    feed(writer, 0, 1)
    writer.reach(4, 9)
    assert (writer.commit(), writer.next_offset) == (None, 4)
    writer.close_open("age")
    (put,) = writer.puts()
    writer.answer(put, Created())
    assert writer.commit() == Commit(4, 9, records_end=2)
    assert writer.commit() is None
    feed(writer, 6)
    assert writer.commit() is None
    writer.close_open("age")
    (put,) = writer.puts()
    assert (put.batch.begin, put.batch.first) == (2, 6)
    writer.answer(put, Created())
    assert writer.commit() == Commit(7, 7)


def test_a_log_of_holes_only_is_committed_to_its_end() -> None:
    writer = new_writer(start=5)
    writer.reach(9, None)
    assert writer.commit() == Commit(9, None, records_end=5)
    assert writer.flushed


def test_the_next_writer_knows_a_committed_hole_as_the_first_one_does() -> None:
    writer = PartitionWriter("id", 0, 2, 9, Cells.of_size(10), Limits(10, 10**9, 60.0, 4), PLAIN, b"", records_end=5)
    assert (writer.commit(), writer.next_offset) == (None, 9)
    feed(writer, 9)
    writer.close_open("age")
    (put,) = writer.puts()
    assert (put.batch.begin, put.batch.first) == (5, 9)
    writer.answer(put, Created())
    assert writer.commit() == Commit(10, 7)


def test_a_sealed_writer_does_not_take_unread_records_for_a_hole() -> None:
    writer = new_writer()
    feed(writer, 0)
    writer.seal("revoked")
    feed(writer, 1)
    writer.reach(2, 7)
    (put,) = writer.puts()
    writer.answer(put, Created())
    assert writer.commit() == Commit(1, 7)


def test_an_object_with_a_record_beyond_the_logs_end_stops_the_partition() -> None:
    writer = new_writer()
    feed(writer, 0, 1)
    writer.close_open("age")
    (put,) = writer.puts()
    writer.answer(put, ExistingObject("id", 0, 0, 4, 0))
    with pytest.raises(ProtocolError, match="truncated"):
        writer.reach(6, 7)


def test_the_logs_end_may_be_known_before_the_object_that_is_beyond_it() -> None:
    writer = new_writer()
    feed(writer, 0, 1)
    writer.close_open("age")
    (put,) = writer.puts()
    writer.reach(6, 7)
    with pytest.raises(ProtocolError, match="truncated"):
        writer.answer(put, ExistingObject("id", 0, 0, 4, 0))


@pytest.mark.parametrize(
    "existing",
    [
        ExistingObject("other", 0, 0, 5, 0),
        ExistingObject("id", 1, 0, 5, 0),
        ExistingObject("id", 0, 1, 5, 0),
        ExistingObject("id", 0, 0, 10, 0),
    ],
)
def test_an_object_that_cannot_be_ours_stops_the_partition(existing: ExistingObject) -> None:
    writer = new_writer()
    feed(writer, *range(10))
    (put,) = writer.puts()
    with pytest.raises(ProtocolError):
        writer.answer(put, existing)


def test_a_record_that_vanished_stops_the_partition() -> None:
    writer = new_writer()
    feed(writer, 0, 1)
    writer.close_open("age")
    (put,) = writer.puts()
    writer.answer(put, ExistingObject("id", 0, 0, 4, 0))
    feed(writer, 2)
    with pytest.raises(ProtocolError, match="truncated"):
        feed(writer, 11)


def test_answers_of_another_assignment_are_ignored() -> None:
    writer = new_writer()
    feed(writer, *range(10))
    (put,) = writer.puts()
    assert writer.answer(Put(0, 99, put.step, put.batch), Created()) is None
    assert writer.durable == 0


def test_a_sealed_writer_takes_nothing() -> None:
    writer = new_writer()
    feed(writer, 0)
    writer.seal("revoked")
    feed(writer, 1)
    assert ranges(writer.puts()) == [(0, 0)]


@given(st.data())
def test_batches_are_contiguous_inside_cells_and_commit_everything(data: st.DataObject) -> None:
    cell = data.draw(st.integers(1, 12))
    start = data.draw(st.integers(0, 30))
    writer = new_writer(start, cell=cell, records=data.draw(st.integers(1, cell)), window=data.draw(st.integers(1, 4)))
    offsets = sorted(data.draw(st.sets(st.integers(start, start + 60), min_size=1)))
    flying: list[Put] = []
    landed: list[tuple[int, int]] = []
    for offset in offsets:
        feed(writer, offset, bad=(offset,) * data.draw(st.integers(0, 1)))
        flying += writer.puts()
        if len(flying) and data.draw(st.integers(0, 1)):
            _land(writer, flying, landed, data.draw(st.integers(0, len(flying) - 1)))
    writer.seal("shutdown")
    flying += writer.puts()
    while flying:
        _land(writer, flying, landed, data.draw(st.integers(0, len(flying) - 1)))
        flying += writer.puts()
    assert writer.flushed
    assert writer.durable == offsets[-1] + 1
    assert writer.buffered == writer.in_flight == 0
    for first, last in landed:
        assert first // cell == last // cell
    landed.sort()
    assert [offset for first, last in landed for offset in offsets if first <= offset <= last] == offsets


@given(st.data())
def test_many_records_are_taken_like_one_after_another(data: st.DataObject) -> None:
    cell = data.draw(st.integers(1, 12))
    limits = {"cell": cell, "records": data.draw(st.integers(1, cell))}
    whole, single = new_writer(3, **limits), new_writer(3, **limits)
    for start, length in data.draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 25)), max_size=6)):
        values = [b"x" * size for size in data.draw(st.lists(st.integers(1, 400), min_size=length, max_size=length))]
        times = data.draw(st.lists(st.integers(DAY_MS - 2, DAY_MS + 1), min_size=length, max_size=length))
        whole.feed(start, times, values, 7, 0.0)
        for index in range(length):
            single.feed(start + index, times[index : index + 1], values[index : index + 1], 7, 0.0)
        puts, others = whole.puts(), single.puts()
        assert [contents(put.batch) for put in puts] == [contents(put.batch) for put in others]
        if puts and puts[0].batch.first < puts[0].batch.last:  # another writer's object ends earlier: cut there
            existing = ExistingObject("id", 0, puts[0].batch.first, puts[0].batch.first, 0)
            whole.answer(puts[0], existing)
            single.answer(others[0], existing)
    for writer in (whole, single):
        writer.seal("shutdown")
    assert [contents(put.batch) for put in whole.puts()] == [contents(put.batch) for put in single.puts()]
    assert (whole.position, whole.durable) == (single.position, single.durable)


def contents(batch: Batch) -> tuple[object, ...]:
    return (
        batch.begin, batch.first, batch.timestamp, batch.last, batch.count, batch.offsets(),
        b",\n".join(batch.contents()), batch.rejects, batch.epoch, batch.reason,
    )  # fmt: skip


def _land(writer: PartitionWriter, flying: list[Put], landed: list[tuple[int, int]], index: int) -> None:
    put = flying.pop(index)
    if put.step is Step.DATA:
        landed.append((put.batch.first, put.batch.last))
    following = writer.answer(put, Created())
    if following is not None:
        flying.append(following)
