"""Partitions that are stopped: why, and when to try them again. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

TRY_AGAIN_SECONDS = 30.0
"""How long after a stop the cause is looked for again. A try reads the records after the commit once more."""


@dataclass(slots=True)
class _Stop:
    reason: str
    at: float
    may_end: bool
    is_tried: bool = False


class Stops:
    """The stops of this assignment. A partition stays stopped while it is tried, until it is known to go on."""

    def __init__(self) -> None:
        self._stops: dict[int, _Stop] = {}

    def stop(self, partition: int, reason: str, now: float, *, may_end: bool) -> bool:
        """The partition stops now. `may_end`: the cause may go away by itself or be removed while the group runs.

        Returns whether that is news: the partition was not stopped for this reason before.
        """
        before = self._stops.get(partition)
        self._stops[partition] = _Stop(reason, now, may_end)
        return before is None or before.reason != reason

    def due(self, now: float) -> list[int]:
        """The partitions to try again now. Each is tried once for each stop."""
        due = [
            number for number, stop in self._stops.items()
            if stop.may_end and not stop.is_tried and now - stop.at >= TRY_AGAIN_SECONDS
        ]  # fmt: skip
        for number in due:
            self._stops[number].is_tried = True
        return due

    @property
    def tried(self) -> list[int]:
        """The partitions that are being tried."""
        return [number for number, stop in self._stops.items() if stop.is_tried]

    def end(self, partition: int) -> None:
        """The partition goes on, or belongs to this consumer no more."""
        self._stops.pop(partition, None)

    @property
    def reasons(self) -> dict[int, str]:
        """Why each partition is stopped; any thread may ask."""
        return {number: stop.reason for number, stop in sorted(self._stops.copy().items())}

    def __contains__(self, partition: int) -> bool:
        return partition in self._stops

    def __iter__(self) -> Iterator[int]:
        return iter(self._stops)

    def __len__(self) -> int:
        return len(self._stops)
