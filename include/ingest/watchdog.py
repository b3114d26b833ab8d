"""Notices that the consumer's thread did not run for longer than its session: the group may have moved on."""

from __future__ import annotations

import time
from collections.abc import Callable


def boot_clock() -> float:
    """Seconds that also pass while the machine is suspended, which Python's monotonic clock leaves out.

    Linux calls this clock BOOTTIME; on macOS the system's MONOTONIC is such a clock.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Watchdog:
    """The thread calls `awake` every few seconds, so a silence longer than the session is a stall."""

    def __init__(self, session_seconds: float, clock: Callable[[], float] = boot_clock) -> None:
        self.session_seconds = session_seconds
        self._clock = clock
        self._stalled = False
        self._last = clock()

    @property
    def silence(self) -> float:
        """Seconds since the last `awake`."""
        return self._clock() - self._last

    def awake(self) -> None:
        """Record that the thread runs now."""
        self._stalled = self._stalled or self.silence >= self.session_seconds
        self._last = self._clock()

    def restart(self) -> None:
        """Forget a stall: a new session begins."""
        self._stalled, self._last = False, self._clock()

    def was_stalled(self) -> bool:
        """Whether the thread stalled since the session began."""
        self.awake()
        return self._stalled
