"""Publishing and reading back, on the emulator; windows and the learned baseline, pure."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.catalogue import METRICS
from include.monitoring.checks import baseline, cloudwatch
from include.monitoring.checks.cloudwatch import Datum

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
MINUTE = timedelta(minutes=1)


@pytest.mark.servers
def test_what_is_published_is_read_back(
    s3: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    client, namespace = boto3.client("cloudwatch"), f"Test{uuid.uuid4().hex[:8]}"
    data = [Datum("MonitorHeartbeat", 1), Datum("DataAge", 5.5, "gold"), Datum("SumOffsetLag", 42)]
    with caplog.at_level(logging.INFO, logger="include.monitoring.checks.cloudwatch"):
        assert cloudwatch.publish(client, namespace, "test", data, NOW - MINUTE) == 3
    assert "cloudwatch status=200" in caplog.text + "".join(capfd.readouterr())
    asked = [METRICS["SumOffsetLag"], METRICS["MonitorHeartbeat"], METRICS["UploadErrors"]]
    found = cloudwatch.read(client, namespace, "test", asked, NOW - 10 * MINUTE, NOW, MINUTE)
    assert found["SumOffsetLag"] == [(NOW - MINUTE, 42.0)]
    assert found["MonitorHeartbeat"] == [(NOW - MINUTE, 1.0)]
    assert found["UploadErrors"] == []  # no data, which is not zero
    elsewhere = cloudwatch.read(client, namespace, "other", asked, NOW - 10 * MINUTE, NOW, MINUTE)
    assert elsewhere["SumOffsetLag"] == []


@pytest.mark.servers
def test_alarm_thresholds_are_those_of_the_alarms_that_exist(s3: str) -> None:
    client, name = boto3.client("cloudwatch"), f"alarm-{uuid.uuid4().hex[:8]}"
    client.put_metric_alarm(
        AlarmName=name,
        Namespace="Test",
        MetricName="SumOffsetLag",
        ComparisonOperator="GreaterThanThreshold",
        Threshold=1234,
        EvaluationPeriods=1,
        Period=300,
        Statistic="Maximum",
    )
    assert cloudwatch.alarm_thresholds(client, [name, "no-such-alarm"]) == {name: 1234.0}


def test_an_unknown_number_cannot_be_published(s3: str) -> None:
    with pytest.raises(ValueError, match="leave an unknown number out"):
        cloudwatch.publish(boto3.client("cloudwatch"), "Test", "test", [Datum("SumOffsetLag", float("nan"))], NOW)


def test_windows() -> None:
    series = [(NOW - MINUTE * minutes, float(minutes)) for minutes in (14, 11, 4, 1)]
    width = timedelta(minutes=5)
    assert cloudwatch.windows(series, "Sum", NOW, width, 3) == [25.0, None, 5.0]
    assert cloudwatch.windows(series, "Maximum", NOW, width, 3) == [14.0, None, 4.0]
    assert cloudwatch.windows(series, "Average", NOW, width, 1) == [2.5]
    assert cloudwatch.windows(series, "Minimum", NOW, width, 1) == [1.0]


def hourly(days: int, messages: float) -> list[tuple[datetime, float]]:
    this_hour = NOW.replace(minute=0)
    return [(this_hour - timedelta(hours=hours), messages) for hours in range(1, 24 * days + 2)]


@pytest.mark.parametrize("days", [0, 1, 2])
def test_the_baseline_says_that_it_is_still_learning(days: int) -> None:
    learned = baseline.learn(hourly(days, 1200), NOW, 0.5)
    assert learned.value is None
    assert f"learning: {days} of 3 days" in learned.note


def test_the_baseline_is_a_share_of_the_usual() -> None:
    learned = baseline.learn(hourly(5, 1200), NOW, 0.5)
    assert learned.value == 50.0  # 1200 an hour are 100 in five minutes
    assert learned.note == "50% of the usual 100 messages at this hour"


def test_one_broken_day_does_not_move_the_baseline() -> None:
    series = [(at, 0.0 if NOW - at < timedelta(days=1, hours=2) else value) for at, value in hourly(7, 1200)]
    assert baseline.learn(series, NOW, 0.5).value == 50.0


def test_other_hours_do_not_count() -> None:
    noon = NOW.replace(hour=12, minute=0)
    series = [(noon - timedelta(days=day, hours=6), 9999.0) for day in range(1, 8)]
    assert baseline.learn(series, noon, 0.5).value is None
