"""The usual throughput at this hour, learned from the last days in CloudWatch.

It is used only with MONITOR_THROUGHPUT_BASELINE=learned. Throughput depends on the hour of the day,
so the same hour of each of the last days (and its neighbours) is compared. A day with a fault
hardly changes the median. A share of the median is the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from include.catalogue import METRICS, MONITOR_SECONDS
from include.monitoring.checks import cloudwatch
from include.settings import MonitorSettings

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

DAYS = 7
FEWEST_DAYS = 3
HOUR = timedelta(hours=1)


class Baseline(msgspec.Struct, frozen=True):
    """Throughput is low below `value` messages in one interval; None with too little history. `note` explains it."""

    value: float | None
    note: str


def read(client: CloudWatchClient, settings: MonitorSettings, now: datetime) -> Baseline:
    """The baseline for this hour from CloudWatch's hourly sums.

    Raises:
        ClientError, BotoCoreError: CloudWatch refused or could not be reached.
    """
    consumed = METRICS["MessagesConsumed"]
    end = now.replace(minute=0, second=0, microsecond=0)
    series = cloudwatch.read(
        client, settings.namespace, settings.environment, [consumed], end - timedelta(days=DAYS, hours=2), end, HOUR
    )
    return learn(series[consumed.name], now, settings.baseline_share)


def learn(hourly: Sequence[tuple[datetime, float]], now: datetime, share: float) -> Baseline:
    """The baseline from hourly sums of messages: `share` of the median of this hour and its neighbours, day by day."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    days: set[int] = set()
    sums: list[float] = []
    for at, value in hourly:
        age = this_hour - at
        day = round(age / timedelta(days=1))
        if 1 <= day <= DAYS and abs(age - timedelta(days=day)) <= HOUR:
            days.add(day)
            sums.append(value)
    if len(days) < FEWEST_DAYS:
        return Baseline(None, f"learning: {len(days)} of {FEWEST_DAYS} days of history at this hour")
    usual = median(sums) * MONITOR_SECONDS / HOUR.total_seconds()
    return Baseline(usual * share, f"{share:.0%} of the usual {usual:,.0f} messages at this hour")
