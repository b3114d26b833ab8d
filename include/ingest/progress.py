"""Whether each partition moves while it has something to do, whatever may hold it. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition is: `position` is the next offset to read, `durable` the first that is not safe in S3.

    `end` is the end of its log as Kafka last said, None if Kafka does not say it because of `error`. `landing`: a
    closed batch is not durable.
    """

    position: int
    durable: int
    end: int | None
    landing: bool
    error: str = ""

    @property
    def is_behind(self) -> bool:
        """Whether there is something to read or to land, or nobody knows. An open batch may wait for its age."""
        return self.landing or self.end is None or self.position < self.end


class Progress:
    """Since when each partition is behind without a move."""

    def __init__(self, limit_seconds: float) -> None:
        """`limit_seconds`: a partition that stands still for longer is a problem."""
        self._limit = limit_seconds
        self._since: dict[int, tuple[Place, float]] = {}

    def see(self, partition: int, place: Place, now: float) -> None:
        """Take the present place of a partition. `now` is a monotonic time, s."""
        before = self._since.get(partition)
        if not place.is_behind:
            self._since.pop(partition, None)
        elif before is None or (before[0].position, before[0].durable) != (place.position, place.durable):
            self._since[partition] = (place, now)
        else:
            self._since[partition] = (place, before[1])

    def forget(self, partition: int) -> None:
        """The partition does not belong to this consumer any more, or starts again."""
        self._since.pop(partition, None)

    def problems(self, now: float) -> list[str]:
        """Each partition that stands still for too long, in words; any thread may ask."""
        return [
            f"partition {number} stands still for {now - since:.0f} s: {_what(place)}"
            for number, (place, since) in sorted(self._since.copy().items())
            if now - since >= self._limit
        ]


def _what(place: Place) -> str:
    read = f"read up to offset {place.position}, landed up to {place.durable}"
    if place.end is None:
        return f"{read}, and Kafka does not say where its log ends: {place.error or 'no answer'}"
    return f"{read}, and its log ends at {place.end}"
