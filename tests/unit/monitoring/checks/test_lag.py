"""Lag and Burrow's statuses, as tables and as properties."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.monitoring.checks import lag
from include.monitoring.checks.lag import PartitionOffsets, Sample, Status

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
GRACE = timedelta(minutes=2)
OLD = NOW - timedelta(minutes=20)
YOUNG = NOW - timedelta(seconds=30)


def window(*points: tuple[int, int], step: timedelta = timedelta(minutes=5)) -> list[Sample]:
    """Samples (position, lag) five minutes apart, the last one now."""
    count = len(points)
    return [
        Sample(NOW - step * (count - 1 - index), position, behind) for index, (position, behind) in enumerate(points)
    ]


@pytest.mark.parametrize(
    ("committed", "earliest", "latest", "position", "behind", "lost"),
    [
        (40, 0, 100, 40, 60, 0),
        (100, 0, 100, 100, 0, 0),
        (None, 20, 100, 20, 80, 0),  # no commit: everything that is there waits
        (-1001, 20, 100, 20, 80, 0),  # librdkafka's word for no commit is no number
        (10, 20, 100, 20, 80, 10),  # retention was faster than the consumer
        (120, 0, 100, 120, 0, 0),  # the topic was recreated
        (0, 0, 0, 0, 0, 0),
    ],
)
def test_offsets(committed: int | None, earliest: int, latest: int, position: int, behind: int, lost: int) -> None:
    one = PartitionOffsets(0, earliest, latest, committed)
    assert (one.position, one.lag, one.lost) == (position, behind, lost)


@pytest.mark.parametrize(
    ("samples", "members", "oldest", "expected"),
    [
        pytest.param(window((10, 0)), 0, None, Status.OK, id="nothing unread, even without members"),
        pytest.param(window((10, 5)), 1, YOUNG, Status.OK, id="one look says nothing about movement"),
        pytest.param(window((10, 5)), 0, OLD, Status.STOP, id="nobody reads and records wait"),
        pytest.param(window((10, 5)), 0, YOUNG, Status.OK, id="a restart takes a moment"),
        pytest.param(window((10, 5)), None, OLD, Status.OK, id="the broker cannot tell the members"),
        pytest.param(window((10, 5), (10, 5), (10, 9)), 1, OLD, Status.STALL, id="the commit stands still"),
        pytest.param(window((10, 5), (10, 9), step=timedelta(minutes=1)), 1, OLD, Status.OK, id="two looks too close"),
        pytest.param(window((10, 0), (10, 5), (10, 9)), 1, OLD, Status.OK, id="it was at the end in the window"),
        pytest.param(window((20, 5), (10, 15), (12, 13)), 1, OLD, Status.REWIND, id="the commit went back"),
        pytest.param(window((10, 5), (20, 9), (30, 15)), 1, OLD, Status.WARN, id="it moves, but falls behind"),
        pytest.param(window((10, 9), (20, 9), (30, 9)), 1, OLD, Status.OK, id="it moves at a steady distance"),
        pytest.param(window((10, 90), (20, 99), (80, 15)), 1, OLD, Status.OK, id="it catches up"),
    ],
)
def test_status(samples: list[Sample], members: int | None, oldest: datetime | None, expected: Status) -> None:
    assert lag.status(samples, members, oldest, GRACE) is expected


@pytest.mark.parametrize(
    ("looks", "members", "oldest", "expected"),
    [
        pytest.param(2, 1, OLD, Status.OK, id="the batch may still wait for its age"),
        pytest.param(5, 1, OLD, Status.OK, id="twenty minutes are not more than twenty"),
        pytest.param(6, 1, OLD, Status.STALL, id="longer than any batch waits"),
        pytest.param(6, 1, None, Status.STALL, id="the same when the record's age is not known"),
        pytest.param(2, 0, OLD, Status.OK, id="nobody reads, but the record is not too old"),
        pytest.param(2, 0, OLD - timedelta(minutes=1), Status.STOP, id="nobody reads and it is too old"),
    ],
)
def test_a_long_batch_age_is_waited_for(looks: int, members: int, oldest: datetime | None, expected: Status) -> None:
    """`CONSUMER_BATCH_AGE_SECONDS=600`: a commit may stand still for that long when little arrives."""
    grace = timedelta(minutes=20)
    seen: dict[int, list[Sample]] = {}
    for sample in window(*[(10, 5)] * looks):
        seen = lag.extend(seen, [PartitionOffsets(0, 0, 15, 10)], sample.at, grace)
    assert lag.status(seen[0], members, oldest, grace) is expected


def test_window_drops_what_is_old_and_partitions_that_are_gone() -> None:
    before = {0: [Sample(NOW - timedelta(minutes=m), 1, 1) for m in (30, 10, 5)], 1: [Sample(NOW, 1, 1)]}
    after = lag.extend(before, [PartitionOffsets(0, 0, 9, 3)], NOW, GRACE)
    assert list(after) == [0]
    assert [sample.at for sample in after[0]] == [NOW - timedelta(minutes=10), NOW - timedelta(minutes=5), NOW]


def summary(*offsets: PartitionOffsets, members: int | None = 1, retention: timedelta | None = None) -> lag.Lag:
    return lag.summary(offsets, lag.extend({}, offsets, NOW, GRACE), members, retention, NOW, GRACE)


def test_summary_without_unread_records() -> None:
    found = summary(PartitionOffsets(0, 0, 10, 10), retention=timedelta(days=7))
    assert (found.total, found.worst, found.seconds, found.stalled) == (0, 0, 0.0, ())
    assert found.headroom_seconds == timedelta(days=7).total_seconds()


def test_summary_of_several_partitions() -> None:
    found = summary(
        PartitionOffsets(0, 0, 10, 4, NOW - timedelta(seconds=90)),
        PartitionOffsets(1, 0, 10, None, NOW - timedelta(hours=1)),
        PartitionOffsets(2, 0, 10, 10),
        members=0,
        retention=timedelta(hours=2),
    )
    assert (found.total, found.worst, found.seconds, found.headroom_seconds) == (16, 10, 3600.0, 3600.0)
    assert found.stalled == (1,)  # partition 0's record is younger than the grace


def test_unknown_age_is_not_zero() -> None:
    found = summary(PartitionOffsets(0, 0, 10, 4), retention=timedelta(hours=2))
    assert found.seconds is None
    assert found.headroom_seconds is None


def test_lost_records_leave_no_headroom() -> None:
    found = summary(PartitionOffsets(0, 20, 30, 4, YOUNG), retention=timedelta(days=7))
    assert (found.lost, found.headroom_seconds) == (16, 0.0)


offsets = st.builds(
    lambda partition, earliest, length, committed, age: PartitionOffsets(
        partition, earliest, earliest + length, committed, None if age is None else NOW - timedelta(seconds=age)
    ),
    st.integers(0, 20),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.none() | st.integers(-1001, 3000),
    st.none() | st.integers(0, 10**6),
)


@given(st.lists(offsets, max_size=8, unique_by=lambda one: one.partition), st.none() | st.integers(0, 3))
def test_no_number_is_negative_and_totals_add_up(found: list[PartitionOffsets], members: int | None) -> None:
    whole = summary(*found, members=members, retention=timedelta(days=1))
    assert whole.total == sum(one.lag for one in found) >= whole.worst >= 0
    assert whole.seconds is None or whole.seconds >= 0
    assert whole.headroom_seconds is None or whole.headroom_seconds >= 0
    assert set(whole.stalled) <= {one.partition for one in found if one.lag}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=6), st.integers(0, 2))
def test_without_unread_records_no_status_is_bad(points: list[tuple[int, int]], members: int) -> None:
    quiet = [*points[:-1], (points[-1][0], 0)]
    assert lag.status(window(*quiet), members, OLD, GRACE) is Status.OK
