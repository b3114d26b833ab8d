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
    return [Sample(NOW - step * age, *point) for age, point in zip(range(len(points))[::-1], points, strict=True)]


@pytest.mark.parametrize(
    ("committed", "earliest", "latest", "position", "unread", "lost"),
    [
        pytest.param(40, 0, 100, 40, 60, 0, id="in the middle"),
        pytest.param(100, 0, 100, 100, 0, 0, id="at the end"),
        pytest.param(None, 20, 100, 20, 80, 0, id="no commit: every record is unread"),
        pytest.param(-1001, 20, 100, 20, 80, 0, id="librdkafka's value for no commit is not a number"),
        pytest.param(10, 20, 100, 20, 80, 10, id="retention was faster than the consumer"),
        pytest.param(120, 0, 100, 120, 0, 0, id="beyond the log's end"),
        pytest.param(0, 0, 0, 0, 0, 0, id="empty"),
    ],
)
def test_offsets(committed: int | None, earliest: int, latest: int, position: int, unread: int, lost: int) -> None:
    partition = PartitionOffsets(0, earliest, latest, committed)
    assert (partition.position, partition.lag, partition.lost) == (position, unread, lost)


@pytest.mark.parametrize(
    ("samples", "members", "oldest", "expected"),
    [
        pytest.param(window((10, 0)), 0, None, Status.OK, id="nothing unread, even without members"),
        pytest.param(window((10, 5)), 1, YOUNG, Status.OK, id="one sample alone shows no movement"),
        pytest.param(window((10, 5)), 0, OLD, Status.STOP, id="no member, and records wait"),
        pytest.param(window((10, 5)), 0, YOUNG, Status.OK, id="a restart takes a moment"),
        pytest.param(window((10, 5)), None, OLD, Status.OK, id="the broker does not report the members"),
        pytest.param(window((10, 5), (10, 5), (10, 9)), 1, OLD, Status.STALL, id="the commit does not advance"),
        pytest.param(window((10, 5), (10, 9), step=timedelta(minutes=1)), 1, OLD, Status.OK, id="samples too close"),
        pytest.param(window((10, 0), (10, 5), (10, 9)), 1, OLD, Status.OK, id="it was at the end in the window"),
        pytest.param(window((20, 5), (10, 15), (12, 13)), 1, OLD, Status.REWIND, id="the commit went back"),
        pytest.param(window((10, 5), (20, 9), (30, 15)), 1, OLD, Status.WARN, id="it moves, but lag grows"),
        pytest.param(window((10, 9), (20, 9), (30, 9)), 1, OLD, Status.OK, id="it moves at a constant lag"),
        pytest.param(window((10, 90), (20, 99), (80, 15)), 1, OLD, Status.OK, id="it catches up"),
    ],
)
def test_status(samples: list[Sample], members: int | None, oldest: datetime | None, expected: Status) -> None:
    assert lag.status(samples, members, oldest, GRACE) is expected


@pytest.mark.parametrize(
    ("count", "members", "oldest", "expected"),
    [
        pytest.param(2, 1, OLD, Status.OK, id="the batch may still wait for its age"),
        pytest.param(5, 1, OLD, Status.OK, id="twenty minutes are not more than twenty"),
        pytest.param(6, 1, OLD, Status.STALL, id="longer than any batch waits"),
        pytest.param(6, 1, None, Status.STALL, id="the same when the record's age is not known"),
        pytest.param(2, 0, OLD, Status.OK, id="no member, but the record is not too old"),
        pytest.param(2, 0, OLD - timedelta(minutes=1), Status.STOP, id="no member, and the record is too old"),
    ],
)
def test_a_stall_is_longer_than_a_long_batch_age(
    count: int, members: int, oldest: datetime | None, expected: Status
) -> None:
    """`CONSUMER_BATCH_AGE_SECONDS=600`: when little arrives, a commit may take that long."""
    grace = timedelta(minutes=20)
    samples: dict[int, list[Sample]] = {}
    for sample in window(*[(10, 5)] * count):
        samples = lag.extend(samples, [PartitionOffsets(0, 0, 15, 10)], sample.at, grace)
    assert lag.status(samples[0], members, oldest, grace) is expected


def test_the_window_drops_old_samples_and_deleted_partitions() -> None:
    before = {0: [Sample(NOW - timedelta(minutes=m), 1, 1) for m in (30, 10, 5)], 1: [Sample(NOW, 1, 1)]}
    after = lag.extend(before, [PartitionOffsets(0, 0, 9, 3)], NOW, GRACE)
    assert list(after) == [0]
    assert [sample.at for sample in after[0]] == [NOW - timedelta(minutes=10), NOW - timedelta(minutes=5), NOW]


def summary(*offsets: PartitionOffsets, members: int | None = 1, retention: timedelta | None = None) -> lag.Lag:
    return lag.summary(offsets, lag.extend({}, offsets, NOW, GRACE), members, retention, NOW, GRACE)


def test_a_commit_beyond_the_logs_end_is_a_status_of_its_own() -> None:
    whole = summary(PartitionOffsets(0, 0, 100, 200), PartitionOffsets(1, 0, 100, 100))
    assert (whole.total, whole.stalled) == (0, {0: Status.AHEAD})


def test_offsets_without_a_record_are_not_unread() -> None:
    whole = summary(PartitionOffsets(0, 0, 103, 100, stable=103, read_to=103))
    assert (whole.total, whole.seconds, whole.stalled) == (0, 0.0, {})


@pytest.mark.parametrize(
    ("stable", "read_to", "expected"),
    [
        pytest.param(100, 100, Status.OPEN_TRANSACTION, id="all that may be read is landed"),
        pytest.param(102, 102, Status.OPEN_TRANSACTION, id="a hole is before the open transaction"),
        pytest.param(102, None, Status.STALL, id="a record may be read"),
        pytest.param(105, None, Status.STALL, id="no transaction is open"),
        pytest.param(None, None, Status.STALL, id="the broker does not say"),
    ],
)
def test_a_transaction_without_an_end_shows_as_what_it_is(
    stable: int | None, read_to: int | None, expected: Status
) -> None:
    samples: dict[int, list[Sample]] = {}
    for minutes in (15, 10, 5, 0):
        partition = PartitionOffsets(0, 0, 105, 100, stable=stable, read_to=read_to)
        now = NOW - timedelta(minutes=minutes)
        samples = lag.extend(samples, [partition], now, GRACE)
        whole = lag.summary([partition], samples, 1, timedelta(hours=1), now, GRACE)
    assert whole.stalled == {0: expected}
    assert whole.total == 105 - max(100, read_to or 0)
    assert whole.seconds == (600.0 if expected is Status.OPEN_TRANSACTION else None)  # as far as the window shows


def test_without_unread_records_the_age_is_zero() -> None:
    whole = summary(PartitionOffsets(0, 0, 10, 10), retention=timedelta(days=7))
    assert (whole.total, whole.worst, whole.seconds, whole.stalled) == (0, 0, 0.0, {})
    assert whole.headroom_seconds == timedelta(days=7).total_seconds()


def test_the_oldest_record_of_all_partitions_counts() -> None:
    whole = summary(
        PartitionOffsets(0, 0, 10, 4, NOW - timedelta(seconds=90)),
        PartitionOffsets(1, 0, 10, None, NOW - timedelta(hours=1)),
        PartitionOffsets(2, 0, 10, 10),
        members=0,
        retention=timedelta(hours=2),
    )
    assert (whole.total, whole.worst, whole.seconds, whole.headroom_seconds) == (16, 10, 3600.0, 3600.0)
    assert whole.stalled == {1: Status.STOP}  # partition 0's record is younger than the grace


def test_unknown_age_is_not_zero() -> None:
    whole = summary(PartitionOffsets(0, 0, 10, 4), retention=timedelta(hours=2))
    assert whole.seconds is None
    assert whole.headroom_seconds is None


def test_lost_records_leave_no_headroom() -> None:
    whole = summary(PartitionOffsets(0, 20, 30, 4, YOUNG), retention=timedelta(days=7))
    assert (whole.lost, whole.headroom_seconds) == (16, 0.0)


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


@given(st.lists(offsets, max_size=8, unique_by=lambda partition: partition.partition), st.none() | st.integers(0, 3))
def test_no_number_is_negative_and_totals_add_up(partitions: list[PartitionOffsets], members: int | None) -> None:
    whole = summary(*partitions, members=members, retention=timedelta(days=1))
    assert whole.total == sum(partition.lag for partition in partitions) >= whole.worst >= 0
    assert whole.seconds is None or whole.seconds >= 0
    assert whole.headroom_seconds is None or whole.headroom_seconds >= 0
    assert set(whole.stalled) <= {partition.partition for partition in partitions if partition.lag or partition.ahead}
    ahead = {partition.partition for partition in partitions if (partition.committed or 0) > partition.latest}
    assert {number for number, status in whole.statuses.items() if status is Status.AHEAD} == ahead


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=6), st.integers(0, 2))
def test_without_unread_records_every_status_is_ok(points: list[tuple[int, int]], members: int) -> None:
    quiet = [*points[:-1], (points[-1][0], 0)]
    assert lag.status(window(*quiet), members, OLD, GRACE) is Status.OK
