"""When the next run of the transform may start. Pure: no Airflow, no S3, no clock.

A run starts because something is unread (`gate.tail_is_unread`, `gate.look`). This module says from which moment on it
may start. Four facts decide, and all of them come from S3, so a restart of the triggerer changes nothing:

- Floor: a run starts at least so long after the start of the run before.
- Ceiling: the runs of a UTC day. When half of them are used, the others are spread over the rest of the day.
- Failures: starts since the last one whose offer bronze took. Each doubles the wait, up to LONGEST_WAIT.
- Now: a start that a faster clock dated after now delays nothing.

No wait is longer than twice a day divided by the ceiling, LONGEST_WAIT, or the floor, whichever is the longest. Only if
runs by hand use up the day's runs, the next run waits for the next UTC day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta

import msgspec

from include.instants import Instant

LONGEST_WAIT = timedelta(hours=1)
"""Maximum of the wait after failed runs. A cause that was removed is noticed after this time, without a person."""
LEAST_WAIT = timedelta(minutes=1)
"""Wait after a second failure, doubled by each further one, when the floor is shorter. Tasks have retried by then."""
DAY = timedelta(days=1)
KEPT = 2 * DAY
"""Older starts are forgotten: they decide nothing."""


class Start(msgspec.Struct, frozen=True):
    """The start of a run that went on. `offers`: on success it stores what it offered (not with a selection)."""

    at: Instant
    offers: bool = True


Starts = dict[str, Start]
"""Id of the run -> its start."""


@dataclass(frozen=True, slots=True)
class StartRule:
    """`floor` is the least time between two starts, `runs_a_day` the greatest number of starts in a UTC day."""

    floor: timedelta
    runs_a_day: int

    def not_before(self, starts: Mapping[str, Start], taken: datetime | None, now: datetime) -> datetime:
        """The moment from which on the next run may start.

        Args:
            starts: the starts of the last two days.
            taken: the start of the run whose offer bronze took last; None if it took none.
            now: a UTC time.
        """
        known = [start for start in starts.values() if start.at <= now]
        if not known:
            return now
        last = max(start.at for start in known)
        untaken = sum(start.offers and (taken is None or start.at > taken) for start in known)
        return last + max(self.floor, self._after_failures(untaken), self._pace(known, last, now))

    def _after_failures(self, untaken: int) -> timedelta:
        """The wait after `untaken` starts, of which the last may have succeeded meanwhile or still run."""
        if untaken < 2:
            return timedelta()
        doubled: timedelta = max(self.floor, LEAST_WAIT) * 2 ** min(untaken - 1, 20)
        return min(doubled, max(LONGEST_WAIT, self.floor))

    def _pace(self, known: list[Start], last: datetime, now: datetime) -> timedelta:
        """The wait that spreads the second half of the day's runs over the rest of the day."""
        midnight = datetime.combine(now.date(), time(), now.tzinfo)
        used = sum(start.at >= midnight for start in known)
        if 2 * used < self.runs_a_day or last < midnight:
            return timedelta()
        return (midnight + DAY - last) / (max(self.runs_a_day - used, 0) + 1)


def with_start(starts: Mapping[str, Start], run_id: str, start: Start) -> Starts:
    """`starts` with this one, and without those that decide nothing any more."""
    return {known: other for known, other in starts.items() if other.at > start.at - KEPT} | {run_id: start}
