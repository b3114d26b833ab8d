"""One measurement of Kafka, and the window of samples in S3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest.mock import Mock

import boto3
import pytest

from include.monitoring.checks import kafka_offsets, lag_window, measure
from include.monitoring.checks.kafka_offsets import TopicReading
from include.monitoring.checks.lag import PartitionOffsets, Status
from include.monitoring.checks.measurements import KafkaMeasurement
from include.settings import Settings, load
from tests.unit.refusing_s3 import s3_that_refuses

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.servers

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
READING = TopicReading((PartitionOffsets(0, 0, 10, 4, NOW - timedelta(minutes=9)),), 1, "stable", None)


@pytest.fixture
def settings(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(kafka_offsets, "read", lambda *_: READING)
    return load()


def measured(s3: S3Client, settings: Settings, minutes: int) -> KafkaMeasurement:
    return measure.kafka(Mock(), Mock(), s3, settings, NOW + timedelta(minutes=minutes))


def test_a_broken_window_is_reported_once_and_begins_again(settings: Settings) -> None:
    """Otherwise a later sample would have no earlier sample to compare with, and no stall would be seen."""
    s3, storage = boto3.client("s3"), settings.storage
    s3.put_object(Bucket=storage.bucket, Key=lag_window.key(storage), Body=b'{"samples": 7}')
    first, second = measured(s3, settings, 0), measured(s3, settings, 5)
    assert "lag_window.json is not readable" in first.window_fault
    assert (second.window_fault, second.lag.stalled) == ("", {0: Status.STALL})


def test_a_window_that_s3_does_not_return_is_kept(settings: Settings) -> None:
    s3, storage = boto3.client("s3"), settings.storage
    measured(s3, settings, 0)
    measured(s3, settings, 2)
    assert "SlowDown" in measured(s3_that_refuses("GetObject", "SlowDown"), settings, 5).window_fault
    assert len(lag_window.read(s3, storage).samples[0]) == 2
    assert measured(s3, settings, 10).lag.stalled == {0: Status.STALL}


def test_a_window_that_cannot_be_written_is_reported(settings: Settings) -> None:
    assert "cannot be written" in measured(s3_that_refuses("PutObject"), settings, 0).window_fault
