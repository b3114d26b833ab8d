"""CloudWatch: publishes numbers, reads them back, and reads the thresholds of the alarms."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from include.catalogue import METRICS, Layer, Metric, Statistic, dimension_values

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef, MetricDatumTypeDef

log = logging.getLogger(__name__)

MAX_DATA = 1000
"""Data in one PutMetricData call at most (CloudWatch service quota)."""
MAX_ALARMS = 100
"""Alarm names in one DescribeAlarms call at most."""


@dataclass(frozen=True, slots=True)
class Datum:
    """One number of one metric of the catalogue, in the metric's unit.

    With `counts` (a value -> how often) it is a distribution, and `value` its number in words. `at` is the time of the
    number; None for the time of the publication.
    """

    metric: str
    value: float
    layer: Layer | None = None
    counts: tuple[tuple[float, int], ...] = ()
    at: datetime | None = None


def publish(client: CloudWatchClient, namespace: str, environment: str, data: Sequence[Datum], at: datetime) -> int:
    """Publish `data`, log the status, return the number of data that CloudWatch took.

    Raises:
        ValueError: a number is not finite; the caller leaves unknown values out.
        ClientError, BotoCoreError: CloudWatch refused or could not be reached.
    """
    body = [_datum(datum, environment, at) for datum in data]
    for begin in range(0, len(body), MAX_DATA):
        response = client.put_metric_data(Namespace=namespace, MetricData=body[begin : begin + MAX_DATA])
        log.info(
            "cloudwatch status=%s request_id=%s namespace=%s metrics=%d",
            response["ResponseMetadata"]["HTTPStatusCode"],
            response["ResponseMetadata"].get("RequestId", "none"),
            namespace,
            len(body[begin : begin + MAX_DATA]),
        )
    return len(body)


def _datum(datum: Datum, environment: str, at: datetime) -> MetricDatumTypeDef:
    if not math.isfinite(datum.value):
        raise ValueError(f"metric {datum.metric} is {datum.value}: leave an unknown number out")
    metric = METRICS[datum.metric]
    dimensions = dimension_values(metric, environment, datum.layer)
    body: MetricDatumTypeDef = {
        "MetricName": metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        "Timestamp": datum.at or at,
        "Unit": metric.unit,
    }
    if datum.counts:
        body["Values"], body["Counts"] = map(list, zip(*datum.counts, strict=True))
    else:
        body["Value"] = datum.value
    return body


Series = list[tuple[datetime, float]]


def read(
    client: CloudWatchClient,
    namespace: str,
    environment: str,
    metrics: Iterable[Metric],
    begin: datetime,
    end: datetime,
    period: timedelta,
    layer: Layer | None = None,
) -> dict[str, Series]:
    """Points of each metric between `begin` and `end`, oldest first, one for each `period` that has data.

    A metric without data has an empty list: that is "no data", which is not zero. `layer` is for metrics by layer.

    Raises:
        ClientError, BotoCoreError: CloudWatch refused or could not be reached.
    """
    metrics = list(metrics)
    queries = [_query(index, metric, namespace, environment, period, layer) for index, metric in enumerate(metrics)]
    points: dict[str, Series] = {metric.name: [] for metric in metrics}
    pages = client.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=begin, EndTime=end, ScanBy="TimestampAscending"
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            name = metrics[int(result["Id"].removeprefix("m"))].name
            points[name].extend(zip(result["Timestamps"], result["Values"], strict=True))
    return {name: sorted(series) for name, series in points.items()}


def _query(
    index: int, metric: Metric, namespace: str, environment: str, period: timedelta, layer: Layer | None
) -> MetricDataQueryTypeDef:
    dimensions = dimension_values(metric, environment, layer)
    return {
        "Id": f"m{index}",
        "ReturnData": True,
        "MetricStat": {
            "Metric": {
                "Namespace": namespace,
                "MetricName": metric.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            },
            "Period": int(period.total_seconds()),
            "Stat": metric.statistic,
        },
    }


def alarm_thresholds(client: CloudWatchClient, names: Sequence[str]) -> dict[str, float]:
    """Thresholds of the alarms that exist among `names`.

    Raises:
        ClientError, BotoCoreError: CloudWatch refused or could not be reached.
    """
    thresholds: dict[str, float] = {}
    for begin in range(0, len(names), MAX_ALARMS):
        response = client.describe_alarms(
            AlarmNames=list(names[begin : begin + MAX_ALARMS]), AlarmTypes=["MetricAlarm"]
        )
        for alarm in response.get("MetricAlarms", ()):
            threshold = alarm.get("Threshold")
            if threshold is not None:
                thresholds[alarm["AlarmName"]] = float(threshold)
    return thresholds


def combine(series: Sequence[tuple[datetime, float]], statistic: Statistic) -> float | None:
    """One number from several periods' points by the metric's statistic; None without points.

    The mean of means is exact only when each point has the same number of observations.
    The monitor uses it for its log, never for a check.
    """
    values = [value for _, value in series]
    if not values:
        return None
    if statistic == "Sum":
        return sum(values)
    if statistic in {"Maximum", "p95"}:  # of percentiles only a bound is known
        return max(values)
    if statistic == "Minimum":
        return min(values)
    return sum(values) / len(values)


def windows(
    series: Sequence[tuple[datetime, float]], statistic: Statistic, end: datetime, width: timedelta, count: int
) -> list[float | None]:
    """`count` windows of `width` that end at `end`, oldest first, each combined by `statistic`."""
    edges = [end - width * index for index in range(count, -1, -1)]
    return [
        combine([point for point in series if left <= point[0] < right], statistic) for left, right in pairwise(edges)
    ]
