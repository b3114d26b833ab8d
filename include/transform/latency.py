"""The latency of the records that a build brought to its layer, from Kafka's timestamp to each stage.

A record counts at a layer when the layer is recorded after the build that brought it: its models and tests are done
then. It has landed at the time that S3 shows for its object. Kafka's timestamp is the broker's, so a replayed message
counts from its replay. A clock that is behind Kafka's gives zero, never a negative number.

These records do not count:

- those that reached Kafka before the layer was first recorded, such as the history that a demo sends first;
- after bronze was loaded again: those that had been measured before;
- those that are older than a run looks back by itself, which a run by hand (`target_date`) has loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.catalogue import Layer, Stage
from include.settings import ObjectiveSettings, StorageSettings
from include.state.latency import Histogram, LayerLatency, StageLatency, added
from include.transform.layer_query import Arrivals

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


Times = Mapping[str, Mapping[int, int]]
"""As `Arrivals.times`: an object's path -> the second of arrival in Kafka -> number of records."""


def begun(arrivals: Arrivals, finished_at: datetime) -> LayerLatency:
    """The memory of a layer that is recorded for the first time: what it has does not count."""
    return LayerLatency(arrivals.last_load or "1970-01-01 00:00:00", finished_at, finished_at, {})


def counting(memory: LayerLatency, arrivals: Arrivals) -> Times:
    """The new records that count. After bronze was loaded again, all its rows are in a new load."""
    if not arrivals.rebuilt:
        return arrivals.times
    measured_until = memory.newest.timestamp()
    later = {
        path: {second: records for second, records in times.items() if second > measured_until}
        for path, times in arrivals.times.items()
    }
    return {path: times for path, times in later.items() if times}


def advanced(
    memory: LayerLatency,
    layer: Layer,
    arrivals: Arrivals,
    landed: Mapping[str, datetime],
    finished_at: datetime,
    objective: ObjectiveSettings,
) -> LayerLatency:
    """The memory of a layer after the build that ended at `finished_at`.

    `landed` has the time in S3 of each object of `counting`, as far as S3 has it; only bronze needs it.
    """
    new = counting(memory, arrivals)
    seconds: dict[Stage, Histogram] = {layer: _latencies((times, finished_at) for times in new.values())}
    if layer == "bronze":
        seconds["landed"] = _latencies((times, landed[path]) for path, times in new.items() if path in landed)
    limits = {"landed": 60 * objective.landed_minutes, "gold": 60 * objective.gold_minutes}
    newest = max((second for times in new.values() for second in times), default=0)
    return LayerLatency(
        since=arrivals.last_load or memory.since,
        counts_from=memory.newest if arrivals.rebuilt else memory.counts_from,
        newest=max(memory.newest, datetime.fromtimestamp(newest, UTC)),
        stages={
            stage: added(memory.stages.get(stage, StageLatency()), finished_at, histogram, limits.get(stage))
            for stage, histogram in seconds.items()
        },
    )


def _latencies(arrived: Iterable[tuple[Mapping[int, int], datetime]]) -> dict[int, int]:
    """Records by latency, from their seconds of arrival and the time at which they reached the stage.

    A time of arrival is cut to its second, so the difference is too long; cut itself, it is within one second.
    """
    latencies: Counter[int] = Counter()
    for times, reached in arrived:
        for second, records in times.items():
            latencies[max(int(reached.timestamp() - second), 0)] += records
    return dict(latencies)


def landed_at(s3: S3Client, storage: StorageSettings, paths: Iterable[str]) -> dict[str, datetime]:
    """The time in S3 of each object, by its path under the data prefix. An object that is gone is left out.

    S3 lists the days of these objects from the first to the last, 1,000 with one request.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    wanted = {storage.data_prefix + path for path in paths}
    if not wanted:
        return {}
    listed = _listed(s3, storage, min(wanted), max(wanted))
    return {key.removeprefix(storage.data_prefix): at for key, at in listed if key in wanted}


def _listed(s3: S3Client, storage: StorageSettings, first: str, last: str) -> Iterator[tuple[str, datetime]]:
    """Keys from `first` to `last` with their times."""
    start = first[:-1]  # StartAfter leaves its own key out
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=storage.bucket, Prefix=storage.data_prefix, StartAfter=start
    )
    for page in pages:
        for item in page.get("Contents", []):
            if item["Key"] > last:
                return
            yield item["Key"], item["LastModified"]
