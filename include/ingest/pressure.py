"""Memory: when the consumer reads on, waits for S3, or pauses its partitions. Pure.

While S3 keeps up, the answer is always to read on. When PUTs fall behind, a short wait for answers is cheapest:
librdkafka's own queue is bounded and stops fetching by itself. But waiting must not replace polling for long, or the
group would take the consumer for dead. Then partitions are paused, and polling goes on without records.
"""

from __future__ import annotations

from enum import Enum

THROTTLE_SHARE = 0.25
"""Above this share of the cap nothing more is read. The rest is room for one poll's chunk of the largest messages."""
PAUSE_AFTER_SECONDS = 2.0
"""How long waiting may replace polling without any answer from S3."""


class Decision(Enum):
    """The next action of the loop."""

    READ = "read"
    WAIT = "wait for S3 instead of reading"
    PAUSE = "pause the partitions, then poll"
    POLL = "poll with partitions paused"
    RESUME = "resume the partitions, then poll"


class Pressure:
    """Decides by the bytes buffered and by whether any PUT is in flight."""

    def __init__(self, cap: int) -> None:
        """`cap`: bytes of messages that may be in memory."""
        self.paused = False
        self._high = cap * THROTTLE_SHARE
        self._waiting_since: float | None = None

    def is_tight(self, buffered: int) -> bool:
        """Whether open batches must be closed, not filled, if they alone hold the memory."""
        return self.paused or buffered >= self._high

    def decide(self, now: float, buffered: int, *, busy: bool) -> Decision:
        """`buffered` in bytes; `busy`: memory will be freed without reading on; `now`: a monotonic time, s."""
        if self.paused:
            if busy and buffered >= self._high / 2:
                return Decision.POLL
            self.paused, self._waiting_since = False, None
            return Decision.RESUME
        if buffered < self._high:
            self._waiting_since = None
            return Decision.READ
        if self._waiting_since is None:
            self._waiting_since = now
        if now - self._waiting_since <= PAUSE_AFTER_SECONDS:
            return Decision.WAIT
        self.paused = True
        return Decision.PAUSE

    def answered(self, now: float) -> None:
        """S3 has answered while the loop waited, so waiting is worth it."""
        self._waiting_since = now
