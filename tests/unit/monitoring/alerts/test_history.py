"""The course of an alert's number, from numbers that were published."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.monitoring.alerts import history
from include.monitoring.checks import cloudwatch
from include.monitoring.checks.cloudwatch import Datum
from include.settings import MonitorSettings

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
NOW -= timedelta(minutes=NOW.minute % 5)  # the emulator cuts periods at the clock
PERIOD = history.PERIOD


@pytest.mark.servers
def test_the_course_has_a_bar_for_each_period_and_the_highest_value(s3: str) -> None:
    client, monitor = boto3.client("cloudwatch"), MonitorSettings(environment=f"env-{uuid.uuid4().hex[:8]}")
    for periods, lag, age in ((3, 0, 60), (2, 700, 120), (1, 1400, 180)):
        data = [Datum("SumOffsetLag", lag), Datum("DataAge", age, "gold")]
        cloudwatch.publish(client, monitor.namespace, monitor.environment, data, NOW - PERIOD * periods)
    lines = history.lines(client, monitor, ["kafka_lag", "stale_gold", "upload_errors", "task_failed"], NOW)
    gap, says = "·" * (history.PERIODS - 3), "; · is 5 min without a number"
    assert lines == {
        "kafka_lag": f"{gap}▁▅█ last 2 h, at most 1,400{says}",
        "stale_gold": f"{gap}▃▆█ last 2 h, at most 3 min{says}",
    }
