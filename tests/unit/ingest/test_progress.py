"""When a partition counts as standing still, and when a stopped one is tried again."""

from __future__ import annotations

from include.ingest.progress import Place, Progress
from include.ingest.stops import TRY_AGAIN_SECONDS, Stops


def test_time_counts_from_the_first_unread_record_not_from_the_last_move() -> None:
    progress = Progress(100)
    idle, unread = Place(7, 7, 7, landing=False), Place(7, 7, 8, landing=False)
    for now in (0, 1000, 2000):
        progress.see(0, idle, now)
    progress.see(0, unread, 2010)
    assert progress.problems(2100) == []
    assert progress.problems(2110) == [
        "partition 0 stands still for 100 s: read up to offset 7, landed up to 7, and its log ends at 8"
    ]
    progress.see(0, Place(8, 7, 8, landing=False), 2120)  # it waits in an open batch
    assert progress.problems(9999) == []


def test_a_slow_partition_moves() -> None:
    progress = Progress(100)
    for step in range(50):
        progress.see(0, Place(2 * step, step, 10**6, landing=True), step * 90)
        assert progress.problems(step * 90) == []


def test_new_records_do_not_hide_a_batch_that_never_lands() -> None:
    progress = Progress(100)
    progress.see(0, Place(7, 7, 7, landing=False), 0)
    for step in range(10):
        progress.see(0, Place(8 + step, 7, 8 + step, landing=True), 10 * step)
    assert progress.problems(99) == []
    (problem,) = progress.problems(100)
    assert problem == "partition 0 stands still for 100 s: read up to offset 17, landed up to 7, and its log ends at 17"
    progress.see(0, Place(18, 8, 18, landing=True), 101)
    assert progress.problems(200) == []


def test_a_stop_is_news_once_and_tried_once_for_each_stop() -> None:
    stops, later = Stops(), TRY_AGAIN_SECONDS
    assert stops.stop(0, "foreign object", 0, may_end=True)
    assert stops.stop(1, "log truncated", 0, may_end=False)
    assert stops.due(later - 1) == []
    assert stops.due(later) == stops.tried == [0]
    assert stops.due(later + 1) == []
    assert list(stops.reasons) == [0, 1]  # a partition that is tried is still stopped
    assert not stops.stop(0, "foreign object", later, may_end=True)
    assert stops.due(2 * later) == [0]
    stops.end(0)
    assert list(stops) == [1]
