"""The lag of the consumer, and whether its commits advance. Pure: no Kafka, no clock.

Five rules keep the numbers correct:

- A partition without a commit counts from its earliest offset.
- A negative committed offset (librdkafka's -1001, "no commit") is never a number.
- A commit before the earliest offset means that Kafka deleted unread records. Then lag counts from
  the earliest offset, and the deleted records are reported as lost.
- Offsets without a record (transaction markers, aborted records) are not unread. If no record is at or after the
  position, the position is where Kafka's end was seen.
- Lag counts up to the high watermark, not to the last stable offset. Records of an open transaction are sent and not
  landed. A lag to the last stable offset would be 0 while a transaction without an end holds back every later record.

The statuses are Burrow's (linkedin/Burrow, core/internal/evaluator). Burrow evaluates every commit,
this module one sample for each run of the monitor. A partition without commits is Burrow's STOP.
Samples cannot show that, so STOP means here that the group has no members. AHEAD and OPEN_TRANSACTION are not Burrow's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise, takewhile

import msgspec

from include.catalogue import MONITOR_SECONDS
from include.instants import Instant

INTERVAL = timedelta(seconds=MONITOR_SECONDS)
JITTER = timedelta(minutes=1)
"""A run of the monitor may begin this much earlier or later."""
SHORTEST_WINDOW = 2 * INTERVAL + JITTER
"""Long enough for three samples."""
SHORTEST_STALL = INTERVAL - JITTER
"""Two samples can show that a commit does not advance only if they are at least this far apart."""


class Status(StrEnum):
    """A partition's status by its window, worst first.

    AHEAD: the commit is beyond the log's end, so records will be passed over; somebody set it by hand.
    OPEN_TRANSACTION: all that may be read is landed; a transaction that does not end holds back the rest.
    """

    AHEAD = "AHEAD"
    STOP = "STOP"
    STALL = "STALL"
    OPEN_TRANSACTION = "OPEN_TRANSACTION"
    REWIND = "REWIND"
    WARN = "WARN"
    OK = "OK"


_STANDING = frozenset({Status.AHEAD, Status.STOP, Status.STALL, Status.OPEN_TRANSACTION})


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """Offsets of one partition in Kafka, and the time of the record at the position (None: unknown).

    `stable` is the last stable offset: a consumer that reads committed records cannot read further (None: unknown).
    There is no record before `read_to` that the group has not committed (None: not looked, or there is one).
    """

    partition: int
    earliest: int
    latest: int
    committed: int | None
    oldest_unread_at: datetime | None = None
    stable: int | None = None
    read_to: int | None = None

    @property
    def position(self) -> int:
        """Offset of the first record that is not landed."""
        if self.committed is None or self.committed < 0:
            return max(self.earliest, self.read_to or 0)
        return max(self.committed, self.earliest, self.read_to or 0)

    @property
    def lag(self) -> int:
        """Records not landed; 0 for a commit beyond the end."""
        return max(self.latest - self.position, 0)

    @property
    def ahead(self) -> int:
        """Offsets between the log's end and a commit beyond it."""
        return max((self.committed or 0) - self.latest, 0)

    @property
    def held_back(self) -> bool:
        """Whether only an open transaction keeps the rest from being read."""
        return self.stable is not None and self.stable < self.latest and self.position >= self.stable

    @property
    def lost(self) -> int:
        """Offsets that retention deleted before they were landed."""
        if self.committed is None or self.committed < 0:
            return 0
        return max(self.earliest - self.committed, 0)


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A partition at one moment."""

    at: Instant
    position: int
    lag: int


def status(
    samples: Sequence[Sample], members: int | None, oldest_unread_at: datetime | None, grace: timedelta
) -> Status:
    """Status of a partition from its window, oldest sample first, the present one last.

    `members` of the group is None when the broker does not report it. `grace` is the time that
    records may wait although all is well: a restart takes a moment, and a batch waits for its
    age. An empty group is a fault only when the oldest unread record is older than `grace`. A
    commit that does not advance is a fault only when the window shows that for longer than `grace`.
    """
    now = samples[-1]
    if now.lag == 0:
        return Status.OK
    if members == 0 and oldest_unread_at is not None and now.at - oldest_unread_at > grace:
        return Status.STOP
    duration = now.at - samples[0].at
    if len(samples) < 2 or duration < SHORTEST_STALL:
        return Status.OK
    steps = list(pairwise(samples))
    if any(after.position < before.position for before, after in steps):
        return Status.REWIND
    if any(sample.lag == 0 for sample in samples):
        return Status.OK
    if all(after.position == before.position for before, after in steps):
        return Status.STALL if duration > grace else Status.OK
    if all(after.lag >= before.lag for before, after in steps) and now.lag > samples[0].lag:
        return Status.WARN
    return Status.OK


def extend(
    window: Mapping[int, Sequence[Sample]], offsets: Sequence[PartitionOffsets], now: datetime, grace: timedelta
) -> dict[int, list[Sample]]:
    """The window with the present samples. Samples that are too old and partitions that do not exist are left out.

    The window is longer than `grace` (see `status`) by at least one interval of the monitor.
    """
    since = now - max(SHORTEST_WINDOW, grace + INTERVAL + JITTER)
    return {
        partition.partition: [
            *(sample for sample in window.get(partition.partition, ()) if since <= sample.at < now),
            Sample(now, partition.position, partition.lag),
        ]
        for partition in offsets
    }


class Lag(msgspec.Struct, frozen=True):
    """The group's lag as a whole. Seconds are None where they cannot be known."""

    total: int
    worst: int
    seconds: float | None
    headroom_seconds: float | None
    statuses: Mapping[int, Status]
    lost: int

    @property
    def stalled(self) -> dict[int, Status]:
        """Status of each partition whose unread records no consumer commits."""
        return {number: status for number, status in self.statuses.items() if status in _STANDING}


def summary(
    offsets: Sequence[PartitionOffsets],
    window: Mapping[int, Sequence[Sample]],
    members: int | None,
    retention: timedelta | None,
    now: datetime,
    grace: timedelta,
) -> Lag:
    """The lag of all partitions. `retention` is None when the topic keeps everything, or the broker does not report it.

    The headroom is zero when records were lost.
    """
    offsets = [_with_age(partition, window[partition.partition]) for partition in offsets]
    seconds = _seconds_behind(offsets, now)
    headroom = None
    if retention is not None and seconds is not None:
        headroom = max(retention.total_seconds() - seconds, 0.0)
    lost = sum(partition.lost for partition in offsets)
    return Lag(
        total=sum(partition.lag for partition in offsets),
        worst=max((partition.lag for partition in offsets), default=0),
        seconds=seconds,
        headroom_seconds=0.0 if lost else headroom,
        statuses={
            partition.partition: _status(partition, window[partition.partition], members, grace)
            for partition in offsets
        },
        lost=lost,
    )


def _with_age(partition: PartitionOffsets, window: Sequence[Sample]) -> PartitionOffsets:
    """Records of an open transaction cannot be read: their age counts from the first sample that saw them waiting."""
    if not partition.held_back or partition.oldest_unread_at is not None:
        return partition
    waiting = takewhile(lambda sample: sample.lag and sample.position == partition.position, reversed(window))
    return replace(partition, oldest_unread_at=min((sample.at for sample in waiting), default=None))


def _status(partition: PartitionOffsets, window: Sequence[Sample], members: int | None, grace: timedelta) -> Status:
    """Status of a partition, also of one that only its offsets show."""
    if partition.ahead:
        return Status.AHEAD
    by_window = status(window, members, partition.oldest_unread_at, grace)
    return Status.OPEN_TRANSACTION if partition.held_back and by_window in _STANDING else by_window


def _seconds_behind(offsets: Sequence[PartitionOffsets], now: datetime) -> float | None:
    """Age of the oldest unread record; 0 if all are read; None when the age is not known on one partition."""
    unread = [partition for partition in offsets if partition.lag]
    times = [partition.oldest_unread_at for partition in unread if partition.oldest_unread_at is not None]
    if len(times) < len(unread):
        return None
    # The record at the position may have arrived after `now` was taken.
    return max((max((now - moment).total_seconds(), 0.0) for moment in times), default=0.0)
