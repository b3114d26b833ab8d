"""The trends of Pipeline Health: which numbers of the catalogue it shows, and their one request to CloudWatch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from include.catalogue import LAYERS, METRICS, Layer, Metric, Stage, dimension_values
from include.instants import Instant
from include.settings import MonitorSettings

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient


@dataclass(frozen=True, slots=True)
class Range:
    """A range of the trends; `period` is the time between two points, so that a line has at most 336."""

    name: str
    duration: timedelta
    period: timedelta

    @property
    def label(self) -> str:
        """Like 24 h."""
        return f"{self.name[:-1]} {self.name[-1]}"


_FIVE_MINUTES = timedelta(minutes=5)
RANGES: dict[str, Range] = {
    "1h": Range("1h", timedelta(hours=1), _FIVE_MINUTES),
    "6h": Range("6h", timedelta(hours=6), _FIVE_MINUTES),
    "24h": Range("24h", timedelta(hours=24), _FIVE_MINUTES),
    "7d": Range("7d", timedelta(days=7), timedelta(minutes=30)),
}
DEFAULT_RANGE = "24h"
"""Read when nobody chose a range; `fitted` shortens it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: a metric by one statistic of CloudWatch (like Maximum or p99), for one layer or none.

    `rate` divides a sum by the seconds of the period.
    """

    metric: str
    statistic: str
    label: str = ""
    layer: Layer | None = None
    rate: bool = False

    @property
    def id(self) -> str:
        """Names the line in the read model."""
        return ".".join(filter(None, (self.metric, self.statistic, self.layer)))


@dataclass(frozen=True, slots=True)
class Trend:
    """One chart. `condition` gives it the shaded periods and the threshold line; empty without one.

    With an `objective` (a stage) the line is that of the stage's latency objective.
    """

    title: str
    lines: tuple[Line, ...]
    condition: str = ""
    objective: Stage | None = None


def _percentiles(metric: str, high: str) -> tuple[Line, Line]:
    """The median of a distribution, and a high percentile."""
    return Line(metric, "p50", "p50"), Line(metric, high, high)


TRENDS: tuple[Trend, ...] = (
    Trend("Messages waiting", (Line("SumOffsetLag", "Maximum"),), "kafka_lag"),
    Trend("Oldest waiting message", (Line("EstimatedMaxTimeLag", "Maximum"),)),
    Trend("Messages landed", (Line("MessagesConsumed", "Sum", rate=True),), "low_throughput"),
    Trend("Data age", tuple(Line("DataAge", "Maximum", layer, layer) for layer in reversed(LAYERS)), "stale_gold"),
    Trend("Latency to S3", _percentiles("LatencyToLanded", "p95"), "latency_objective", "landed"),
    Trend("Latency to gold", _percentiles("LatencyToGold", "p95"), "latency_objective", "gold"),
    Trend("Upload duration", _percentiles("UploadDuration", "p99"), "slow_uploads"),
    Trend("Failed uploads", (Line("UploadErrors", "Sum"),), "upload_errors"),
    Trend("Files in an hour", (Line("ObjectsLastHour", "Average"),)),
    Trend("Messages in a file", (Line("BatchSize", "Average"),)),
    Trend("Dead-letter files in an hour", (Line("DeadLetterObjects", "Maximum"),), "dead_letters"),
    Trend("Rows in quarantine", (Line("QuarantineShare", "Maximum"),), "quarantine_share"),
)
"""The charts in their order: twelve fill rows of two, three and four."""
LINES: tuple[Line, ...] = tuple(line for trend in TRENDS for line in trend.lines)


class Trends(msgspec.Struct, frozen=True):
    """The values of each line between `begin` and `end`, one for each `seconds`; None where CloudWatch has none."""

    range: str
    begin: Instant
    end: Instant
    seconds: int
    values: Mapping[str, Sequence[float | None]]


def read(client: CloudWatchClient, settings: MonitorSettings, chosen: Range, now: datetime) -> Trends:
    """All lines by one request (`GetMetricData` takes 500 queries and returns 100,800 points in one response).

    Raises:
        ClientError, BotoCoreError: CloudWatch refused or could not be reached.
    """
    seconds = int(chosen.period.total_seconds())
    end = datetime.fromtimestamp((int(now.timestamp()) // seconds + 1) * seconds, UTC)
    begin = end - chosen.duration
    queries: list[Any] = [_query(index, line, settings, seconds) for index, line in enumerate(LINES)]
    count = int(chosen.duration / chosen.period)
    values: dict[str, list[float | None]] = {line.id: [None] * count for line in LINES}
    pages = client.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=begin, EndTime=end, ScanBy="TimestampAscending"
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            line = LINES[int(result["Id"].removeprefix("t"))]
            known = count - 1 if line.rate else count  # the last period goes on: its sum would be too low a rate
            for index, value in _placed(result["Timestamps"], result["Values"], begin, seconds, known):
                values[line.id][index] = value / seconds if line.rate else value
    return Trends(chosen.name, begin, end, seconds, values)


def fitted(trends: Trends) -> Trends:
    """The same numbers in the shortest range of their period that has all of them: a new pipeline has no long line."""
    firsts = (next((n for n, value in enumerate(line) if value is not None), None) for line in trends.values.values())
    first = min((n for n in firsts if n is not None), default=0)
    for shorter in RANGES.values():
        begin = trends.end - shorter.duration
        skipped = int((begin - trends.begin).total_seconds()) // trends.seconds
        if shorter.period.total_seconds() == trends.seconds and skipped <= first:
            values = {name: line[skipped:] for name, line in trends.values.items()}
            return Trends(shorter.name, begin, trends.end, trends.seconds, values)
    return trends


def _placed(
    times: Sequence[datetime], values: Sequence[float], begin: datetime, seconds: int, count: int
) -> Iterator[tuple[int, float]]:
    for time, value in zip(times, values, strict=True):
        index = int((time - begin).total_seconds() // seconds)
        if 0 <= index < count:
            yield index, value


def _query(index: int, line: Line, settings: MonitorSettings, seconds: int) -> dict[str, object]:
    metric: Metric = METRICS[line.metric]
    dimensions = dimension_values(metric, settings.environment, line.layer)
    return {
        "Id": f"t{index}",
        "ReturnData": True,
        "MetricStat": {
            "Metric": {
                "Namespace": settings.namespace,
                "MetricName": metric.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            },
            "Period": seconds,
            "Stat": line.statistic,
        },
    }
