"""One look at Kafka and the window of looks in S3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import boto3
import pytest

from include.monitoring.checks import kafka_offsets, lag_window, measure
from include.monitoring.checks.kafka_offsets import TopicReading
from include.monitoring.checks.lag import PartitionOffsets
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


def look(s3: S3Client, settings: Settings, minutes: int) -> dict[str, Any]:
    return measure.kafka(Mock(), Mock(), s3, settings, NOW + timedelta(minutes=minutes))


def test_a_broken_window_is_told_once_and_written_anew(settings: Settings) -> None:
    """Else no later look would have an earlier one to compare with, and no stall would be seen again."""
    s3, storage = boto3.client("s3"), settings.storage
    s3.put_object(Bucket=storage.bucket, Key=lag_window.key(storage), Body=b'{"samples": 7}')
    first = look(s3, settings, 0)
    assert "lag_window.json is no lag window" in first["window_fault"]
    again = look(s3, settings, 5)
    assert (again["window_fault"], again["stalled"]) == ("", {"0": "STALL"})


def test_a_window_that_s3_does_not_give_is_kept(settings: Settings) -> None:
    s3, storage = boto3.client("s3"), settings.storage
    look(s3, settings, 0)
    look(s3, settings, 2)
    assert "SlowDown" in look(s3_that_refuses("GetObject", "SlowDown"), settings, 5)["window_fault"]
    assert len(lag_window.read(s3, storage).samples[0]) == 2
    assert look(s3, settings, 10)["stalled"] == {"0": "STALL"}


def test_a_window_that_cannot_be_written_is_told(settings: Settings) -> None:
    assert "cannot be written" in look(s3_that_refuses("PutObject"), settings, 0)["window_fault"]
