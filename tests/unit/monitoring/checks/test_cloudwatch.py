"""Numbers are published to the emulator and read back, and windows combine them."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.catalogue import METRICS
from include.monitoring.checks import cloudwatch
from include.monitoring.checks.cloudwatch import Datum

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
MINUTE = timedelta(minutes=1)


@pytest.mark.servers
def test_published_numbers_are_read_back(
    s3: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    client, namespace = boto3.client("cloudwatch"), f"Test{uuid.uuid4().hex[:8]}"
    data = [Datum("MonitorHeartbeat", 1), Datum("DataAge", 5.5, "gold"), Datum("SumOffsetLag", 42)]
    with caplog.at_level(logging.INFO, logger="include.monitoring.checks.cloudwatch"):
        assert cloudwatch.publish(client, namespace, "test", data, NOW - MINUTE) == 3
    assert "cloudwatch status=200" in caplog.text + "".join(capfd.readouterr())
    metrics = [METRICS["SumOffsetLag"], METRICS["MonitorHeartbeat"], METRICS["UploadErrors"]]
    series = cloudwatch.read(client, namespace, "test", metrics, NOW - 10 * MINUTE, NOW, MINUTE)
    assert series["SumOffsetLag"] == [(NOW - MINUTE, 42.0)]
    assert series["MonitorHeartbeat"] == [(NOW - MINUTE, 1.0)]
    assert series["UploadErrors"] == []  # no data, which is not zero
    elsewhere = cloudwatch.read(client, namespace, "other", metrics, NOW - 10 * MINUTE, NOW, MINUTE)
    assert elsewhere["SumOffsetLag"] == []


@pytest.mark.servers
def test_a_distribution_has_all_its_records_at_its_own_time(s3: str) -> None:
    client, namespace, at = boto3.client("cloudwatch"), f"Test{uuid.uuid4().hex[:8]}", NOW - 3 * MINUTE
    latencies = Datum("LatencyToGold", 40, None, ((30, 95), (40, 4), (70, 1)), at)
    assert cloudwatch.publish(client, namespace, "test", [latencies], NOW) == 1
    points = client.get_metric_statistics(
        Namespace=namespace,
        MetricName="LatencyToGold",
        Dimensions=[{"Name": "Environment", "Value": "test"}],
        StartTime=NOW - 10 * MINUTE,
        EndTime=NOW + MINUTE,
        Period=60,
        Statistics=["SampleCount", "Maximum", "Sum"],
    )["Datapoints"]
    shown = [(point["Timestamp"], point["SampleCount"], point["Maximum"], point["Sum"]) for point in points]
    assert shown == [(at, 100, 70, 95 * 30 + 4 * 40 + 70)]


@pytest.mark.servers
def test_alarm_thresholds_are_those_of_existing_alarms(s3: str) -> None:
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


def test_windows_combine_points_by_the_statistic() -> None:
    series = [(NOW - MINUTE * minutes, float(minutes)) for minutes in (14, 11, 4, 1)]
    width = timedelta(minutes=5)
    assert cloudwatch.windows(series, "Sum", NOW, width, 3) == [25.0, None, 5.0]
    assert cloudwatch.windows(series, "Maximum", NOW, width, 3) == [14.0, None, 4.0]
    assert cloudwatch.windows(series, "Average", NOW, width, 1) == [2.5]
    assert cloudwatch.windows(series, "Minimum", NOW, width, 1) == [1.0]
