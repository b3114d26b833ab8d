"""Memory: when the consumer reads on, waits for S3, or pauses its partitions. Pure.

While S3 keeps up nothing here matters. When PUTs fall behind, waiting a moment for answers
is cheapest: librdkafka's own queue is bounded and stops fetching by itself. Waiting must not
replace polling for long, or the group would take the consumer for dead: then partitions are
paused, and polling goes on without records.
"""

from __future__ import annotations

from enum import Enum

THROTTLE_SHARE = 0.25
"""Share of the cap above which nothing more is read. The rest is room for a poll's chunk of the largest messages."""
PAUSE_AFTER_SECONDS = 2.0
"""How long waiting may replace polling without any answer from S3."""


class Act(Enum):
    """What the loop does next."""

    READ = "read"
    WAIT = "wait for S3 instead of reading"
    PAUSE = "pause the partitions, then poll"
    POLL = "poll with partitions paused"
    RESUME = "resume the partitions, then poll"


class Pressure:
    """Decides by the bytes buffered and by whether any PUT is under way."""

    def __init__(self, cap: int) -> None:
        """`cap`: bytes of messages that may be held in memory."""
        self.paused = False
        self._high = cap * THROTTLE_SHARE
        self._waiting_since: float | None = None

    def is_tight(self, buffered: int) -> bool:
        """Whether open batches should be closed rather than filled, if they alone hold the memory."""
        return self.paused or buffered >= self._high

    def decide(self, now: float, buffered: int, *, busy: bool) -> Act:
        """`buffered` in bytes; `busy`: memory will be freed without reading on. `now` is a monotonic time, s."""
        if self.paused:
            if busy and buffered >= self._high / 2:
                return Act.POLL
            self.paused, self._waiting_since = False, None
            return Act.RESUME
        if buffered < self._high:
            self._waiting_since = None
            return Act.READ
        if self._waiting_since is None:
            self._waiting_since = now
        if now - self._waiting_since <= PAUSE_AFTER_SECONDS:
            return Act.WAIT
        self.paused = True
        return Act.PAUSE

    def answered(self, now: float) -> None:
        """S3 has answered while the loop waited: waiting is worth it."""
        self._waiting_since = now
