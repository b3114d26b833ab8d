"""How late records are at each stage of their way: percentiles of builds and hours, and the counts of the objectives.

The transform writes one object for each layer (`state/latency/gold.json`) when it records the layer. It is the memory
that makes each record count once. The layer's state has the part that people read. All latencies are whole seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Self

import msgspec

from include.catalogue import LAYERS, MONITOR_SECONDS, Layer, Stage
from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Histogram = Mapping[int, int]
"""Latency in seconds -> number of records."""

HOURS = 24
"""Finished hours whose percentiles are kept."""
SLOT = timedelta(minutes=10)
"""Width of a count of good and bad records. The shortest window of a burn rate is three of them."""
SLOTS_KEPT = timedelta(days=3)
"""Age of the oldest count: the longest window of a burn rate."""
BUILDS_KEPT = 4 * timedelta(seconds=MONITOR_SECONDS)
"""Age of the oldest build whose latencies the monitor can still publish."""
GROUPS = 100
"""Groups of a published distribution: one for each percent of the records. CloudWatch takes up to 150 values."""


class Percentiles(msgspec.Struct, frozen=True):
    """Seconds by nearest rank: p95 is the least latency that at least 95 % of the records do not exceed."""

    records: int
    p50: int
    p95: int
    p99: int
    maximum: int

    @classmethod
    def of(cls, seconds: Histogram) -> Self | None:
        """The percentiles of a histogram; None without a record."""
        if not seconds:
            return None
        p50, p95, p99, maximum = (percentile(seconds, percent) for percent in (50, 95, 99, 100))
        return cls(sum(seconds.values()), p50, p95, p99, maximum)


def percentile(seconds: Histogram, percent: int) -> int:
    """The latency with this percent of the records at or below it, by nearest rank.

    Raises:
        ValueError: the histogram has no record.
    """
    rank = -(-percent * sum(seconds.values()) // 100)  # rounded up
    ordered = sorted(seconds)
    counts = accumulate(seconds[second] for second in ordered)
    found = next((second for second, count in zip(ordered, counts, strict=True) if count >= rank), None)
    if found is None:
        raise ValueError("a histogram without a record has no percentile")
    return found


class HourLatency(msgspec.Struct, frozen=True):
    """The percentiles of the builds that ended in the UTC hour from `at` on."""

    at: Instant
    percentiles: Percentiles


class BuildLatency(msgspec.Struct, frozen=True):
    """The latencies of the records that one build brought: `[seconds, records]`, at most GROUPS pairs.

    Each percentile of the pairs is that of the records: a pair holds one percent of them, under its greatest latency.
    """

    at: Instant
    values: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, at: datetime, seconds: Histogram) -> Self:
        """The distribution of a histogram with a record."""
        total, taken = sum(seconds.values()), 0
        groups: dict[int, int] = {}
        for percent in range(100 // GROUPS, 101, 100 // GROUPS):
            upto = -(-percent * total // 100)
            if upto > taken:
                latency = percentile(seconds, percent)
                groups[latency] = groups.get(latency, 0) + upto - taken
                taken = upto
        return cls(at, tuple(groups.items()))


class Count(msgspec.Struct, frozen=True):
    """Records of the builds that ended in the SLOT from `at` on: in time, and late."""

    at: Instant
    good: int
    bad: int


class StageLatency(msgspec.Struct, frozen=True):
    """One stage. `last` is None when the last build brought no record.

    `hour` is the beginning of the hour of the newest record, and `seconds` the histogram of this hour. `counts` are
    those of the objective, oldest first, without slots in which no record came; empty at a stage without an objective.
    """

    last: Percentiles | None = None
    hour: Instant | None = None
    seconds: dict[int, int] = {}
    hours: tuple[HourLatency, ...] = ()
    builds: tuple[BuildLatency, ...] = ()
    counts: tuple[Count, ...] = ()


class LayerLatency(msgspec.Struct, frozen=True):
    """The memory of a layer.

    `since` is the newest load that was measured, as the text of a UTC timestamp. Records count if they reached Kafka
    after `counts_from`; `newest` is the Kafka time of the newest one that did. Bronze has the stage landed too.
    """

    since: str
    counts_from: Instant
    newest: Instant
    stages: Mapping[Stage, StageLatency]


class RecentLatency(msgspec.Struct, frozen=True):
    """The part of a stage for people: the last build (None without a new record), and the last hours, oldest first."""

    last: Percentiles | None
    hours: tuple[HourLatency, ...]

    @classmethod
    def of(cls, stage: StageLatency) -> Self:
        """The finished hours of a stage, and its open hour as it is now."""
        now = Percentiles.of(stage.seconds)
        open_hour = (HourLatency(stage.hour, now),) if stage.hour and now else ()
        return cls(stage.last, (*stage.hours, *open_hour))


def added(stage: StageLatency, at: datetime, seconds: Histogram, good_within: float | None) -> StageLatency:
    """The stage after a build that ended at `at` and brought the records of `seconds`.

    A record is good if its latency is at most `good_within` seconds; None for a stage without an objective.
    """
    if not seconds:
        return msgspec.structs.replace(stage, last=None)
    hour, hours, open_hour = at.replace(minute=0, second=0, microsecond=0), stage.hours, stage.seconds
    if stage.hour is not None and hour > stage.hour:
        done = Percentiles.of(open_hour)
        hours, open_hour = (*hours, HourLatency(stage.hour, done))[-HOURS:] if done else hours, {}
    builds = [build for build in stage.builds if build.at > at - BUILDS_KEPT]
    return StageLatency(
        last=Percentiles.of(seconds),
        hour=hour,
        seconds=_sum(open_hour, seconds),
        hours=hours,
        builds=(*builds, BuildLatency.of(at, seconds)),
        counts=stage.counts if good_within is None else _counted(stage.counts, at, seconds, good_within),
    )


def _sum(left: Histogram, right: Histogram) -> dict[int, int]:
    return {second: left.get(second, 0) + right.get(second, 0) for second in sorted({*left, *right})}


def _counted(counts: Iterable[Count], at: datetime, seconds: Histogram, good_within: float) -> tuple[Count, ...]:
    slot = at - (at - at.replace(hour=0, minute=0, second=0, microsecond=0)) % SLOT
    good = sum(records for second, records in seconds.items() if second <= good_within)
    bad = sum(seconds.values()) - good
    kept = [count for count in counts if count.at > at - SLOTS_KEPT - SLOT]
    if kept and kept[-1].at == slot:
        before = kept.pop()
        good, bad = good + before.good, bad + before.bad
    return (*kept, Count(slot, good, bad))


def key(storage: StorageSettings, layer: Layer) -> str:
    """Key of the layer's object."""
    return f"{storage.state_prefix}latency/{layer}.json"


def read(s3: S3Client, storage: StorageSettings, layer: Layer) -> LayerLatency | None:
    """The layer's memory, or None before it was first recorded.

    Raises:
        StateUnreadableError: the object exists but is broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    remedy = "the next build of the layer begins it again"
    stored = json_object.read(s3, storage.bucket, key(storage, layer), LayerLatency, remedy)
    return stored[0] if stored else None


def read_stages(
    s3: S3Client, storage: StorageSettings, unreadable: dict[str, str] | None = None
) -> dict[Stage, StageLatency]:
    """Every stage that was measured. A broken object is noted in `unreadable` (key -> fault), and left out.

    Raises:
        StateUnreadableError: an object is broken, and `unreadable` is None.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    stages: dict[Stage, StageLatency] = {}
    for layer in LAYERS:
        with json_object.noting(unreadable, key(storage, layer)):
            memory = read(s3, storage, layer)
            stages |= memory.stages if memory else {}
    return stages


def write(s3: S3Client, storage: StorageSettings, layer: Layer, memory: LayerLatency) -> None:
    """Write the layer's memory.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    json_object.write(s3, storage.bucket, key(storage, layer), memory)
