"""How far the consumer is behind, and whether it moves. Pure: no Kafka, no clock.

Three rules keep the numbers honest: a partition without a commit counts from its earliest
offset; a negative committed offset (librdkafka's -1001 for "none") is never a number; a
commit before the earliest offset means records were deleted unread, so lag counts from the
earliest and the rest is reported as lost.

The statuses are Burrow's (linkedin/Burrow, core/internal/evaluator), over one sample
a tick instead of single commits. Burrow sees every commit and calls a partition stopped
when none comes; samples cannot see that, so here STOP means that the group has no members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from include.catalogue import MONITOR_SECONDS

JITTER = timedelta(minutes=1)
TICK = timedelta(seconds=MONITOR_SECONDS) + JITTER
"""The longest time between two looks of neighbouring ticks."""
SHORTEST_WINDOW = timedelta(seconds=2 * MONITOR_SECONDS) + JITTER
"""Holds the looks of three ticks."""
SHORTEST_STALL = timedelta(seconds=MONITOR_SECONDS) - JITTER
"""Two looks must be at least this far apart before "it did not move" means anything."""


class Status(StrEnum):
    """What a partition's window says, worst first."""

    STOP = "STOP"
    STALL = "STALL"
    REWIND = "REWIND"
    WARN = "WARN"
    OK = "OK"


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """What Kafka says about one partition: offsets, and the time of the record at the position (None: unknown)."""

    partition: int
    earliest: int
    latest: int
    committed: int | None
    oldest_unread_at: datetime | None = None

    @property
    def position(self) -> int:
        """Offset of the first record that is not landed."""
        if self.committed is None or self.committed < 0:
            return self.earliest
        return max(self.committed, self.earliest)

    @property
    def lag(self) -> int:
        """Records not landed; 0 for a commit beyond the end (a topic that was recreated)."""
        return max(self.latest - self.position, 0)

    @property
    def lost(self) -> int:
        """Offsets that retention deleted before they were landed."""
        if self.committed is None or self.committed < 0:
            return 0
        return max(self.earliest - self.committed, 0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a partition."""

    at: datetime
    position: int
    lag: int


def status(
    samples: Sequence[Sample], members: int | None, oldest_unread_at: datetime | None, grace: timedelta
) -> Status:
    """Status of a partition from its window, oldest sample first, the present one last.

    `members` of the group, None when the broker cannot tell. `grace` is how long records may
    wait although all is well (a restart takes a moment, and a batch waits for its age): an
    empty group is a fault only when the oldest unread record is older, and a commit that
    stands still only when it has been seen standing for longer.
    """
    now = samples[-1]
    if now.lag == 0:
        return Status.OK
    if members == 0 and oldest_unread_at is not None and now.at - oldest_unread_at > grace:
        return Status.STOP
    watched = now.at - samples[0].at
    if len(samples) < 2 or watched < SHORTEST_STALL:
        return Status.OK
    steps = list(pairwise(samples))
    if any(after.position < before.position for before, after in steps):
        return Status.REWIND
    if any(sample.lag == 0 for sample in samples):
        return Status.OK
    if all(after.position == before.position for before, after in steps):
        return Status.STALL if watched > grace else Status.OK
    if all(after.lag >= before.lag for before, after in steps) and now.lag > samples[0].lag:
        return Status.WARN
    return Status.OK


def extend(
    window: Mapping[int, Sequence[Sample]], offsets: Sequence[PartitionOffsets], now: datetime, grace: timedelta
) -> dict[int, list[Sample]]:
    """The window with this look added and what is too old dropped; vanished partitions go.

    It reaches back behind `grace` (see `status`) by at least one tick.
    """
    since = now - max(SHORTEST_WINDOW, grace + TICK)
    return {
        one.partition: [
            *(sample for sample in window.get(one.partition, ()) if since <= sample.at < now),
            Sample(now, one.position, one.lag),
        ]
        for one in offsets
    }


@dataclass(frozen=True, slots=True)
class Lag:
    """The group's lag as a whole. Seconds are None where they cannot be known."""

    total: int
    worst: int
    seconds: float | None
    headroom_seconds: float | None
    stalled: tuple[int, ...]
    statuses: Mapping[int, Status]
    lost: int


def summary(
    offsets: Sequence[PartitionOffsets],
    window: Mapping[int, Sequence[Sample]],
    members: int | None,
    retention: timedelta | None,
    now: datetime,
    grace: timedelta,
) -> Lag:
    """The lag of all partitions. `retention` None: the topic keeps everything, or the broker cannot tell."""
    statuses = {one.partition: status(window[one.partition], members, one.oldest_unread_at, grace) for one in offsets}
    seconds = _seconds_behind(offsets, now)
    headroom = None
    if retention is not None and seconds is not None:
        headroom = max(retention.total_seconds() - seconds, 0.0)
    if any(one.lost for one in offsets):
        headroom = 0.0
    return Lag(
        total=sum(one.lag for one in offsets),
        worst=max((one.lag for one in offsets), default=0),
        seconds=seconds,
        headroom_seconds=headroom,
        stalled=tuple(p for p, found in statuses.items() if found in {Status.STOP, Status.STALL}),
        statuses=statuses,
        lost=sum(one.lost for one in offsets),
    )


def _seconds_behind(offsets: Sequence[PartitionOffsets], now: datetime) -> float | None:
    """Age of the oldest unread record; 0 without any; None when one partition's is not known."""
    behind = [one for one in offsets if one.lag]
    times = [one.oldest_unread_at for one in behind if one.oldest_unread_at is not None]
    if len(times) < len(behind):
        return None
    # The record at the position may have arrived after `now` was taken.
    return max((max((now - moment).total_seconds(), 0.0) for moment in times), default=0.0)
