"""The last hours of an alert's number, from CloudWatch, as a line for its mail."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from include.catalogue import CONDITIONS, MONITOR_SECONDS, Condition, metric_of
from include.instants import span
from include.monitoring.alerts.sparkline import GAP, sparkline
from include.monitoring.checks import cloudwatch
from include.monitoring.checks.judge import quantity
from include.settings import MonitorSettings

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

PERIOD = timedelta(seconds=MONITOR_SECONDS)
PERIODS = 24
"""Two hours at one number in five minutes. A line on a phone has room for them."""


def lines(
    client: CloudWatchClient, monitor: MonitorSettings, conditions: Iterable[str], now: datetime
) -> dict[str, str]:
    """The line of each condition that has a metric with numbers, by name of the condition.

    Raises:
        ClientError, BotoCoreError: CloudWatch refused or could not be reached.
    """
    found = {name: _line(client, monitor, CONDITIONS[name], now) for name in dict.fromkeys(conditions)}
    return {name: line for name, line in found.items() if line}


def _line(client: CloudWatchClient, monitor: MonitorSettings, condition: Condition, now: datetime) -> str:
    metric, width = metric_of(condition), PERIOD * PERIODS
    if metric is None:
        return ""
    series = cloudwatch.read(
        client, monitor.namespace, monitor.environment, [metric], now - width, now, PERIOD, condition.layer
    )[metric.name]
    values = cloudwatch.windows(series, metric.statistic, now, PERIOD, PERIODS)
    known = [value for value in values if value is not None]
    if not known:
        return ""
    gaps = f"; {GAP} is {span(PERIOD)} without a number" if None in values else ""
    return f"{sparkline(values)} last {span(width)}, at most {quantity(condition, max(known))}{gaps}"
