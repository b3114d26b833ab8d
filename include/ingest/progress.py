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


@dataclass(frozen=True, slots=True)
class _Standing:
    """A partition that is behind: since when it has not moved, and since when a closed batch has not landed."""

    place: Place
    since: float
    landing_since: float

    def then(self, place: Place, now: float) -> _Standing:
        """The same partition at `now`. New records are no move of a batch that does not land."""
        before = self.place
        is_there = (before.position, before.durable) == (place.position, place.durable)
        is_held = before.landing and place.landing and before.durable == place.durable
        return _Standing(place, self.since if is_there else now, self.landing_since if is_held else now)

    @property
    def begin(self) -> float:
        """Since when the partition stands still."""
        return min(self.since, self.landing_since) if self.place.landing else self.since


class Progress:
    """Since when each partition is behind without a move."""

    def __init__(self, limit_seconds: float) -> None:
        """`limit_seconds`: a partition that stands still for longer is a problem."""
        self._limit = limit_seconds
        self._standing: dict[int, _Standing] = {}

    def see(self, partition: int, place: Place, now: float) -> None:
        """Take the present place of a partition. `now` is a monotonic time, s."""
        before = self._standing.get(partition, _Standing(place, now, now))
        if place.is_behind:
            self._standing[partition] = before.then(place, now)
        else:
            self._standing.pop(partition, None)

    def forget(self, partition: int) -> None:
        """The partition does not belong to this consumer any more, or starts again."""
        self._standing.pop(partition, None)

    def problems(self, now: float) -> list[str]:
        """Each partition that stands still for too long, in words; any thread may ask."""
        return [
            f"partition {number} stands still for {now - standing.begin:.0f} s: {_what(standing.place)}"
            for number, standing in sorted(self._standing.copy().items())
            if now - standing.begin >= self._limit
        ]


def _what(place: Place) -> str:
    read = f"read up to offset {place.position}, landed up to {place.durable}"
    if place.end is None:
        return f"{read}, and Kafka does not say where its log ends: {place.error or 'no answer'}"
    return f"{read}, and its log ends at {place.end}"
