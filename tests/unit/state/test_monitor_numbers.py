"""The monitor's numbers, on a real S3 endpoint."""

from __future__ import annotations

from datetime import UTC, datetime

import boto3
import pytest

from include.settings import StorageSettings
from include.state import json_object, monitor_numbers
from include.state.monitor_numbers import MonitorNumbers, Number

pytestmark = pytest.mark.servers

NUMBERS = MonitorNumbers(
    datetime(2026, 11, 25, 12, tzinfo=UTC),
    (Number("SumOffsetLag", 12.0), Number("DataAge", 20.5, "gold")),
    {"kafka_lag": 1000.0},
)


@pytest.fixture
def storage(bucket: str) -> StorageSettings:
    return StorageSettings(bucket=bucket)


def test_numbers_are_read_as_they_were_written(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    assert monitor_numbers.read(s3, storage) is None
    monitor_numbers.write(s3, storage, NUMBERS)
    assert monitor_numbers.read(s3, storage) == NUMBERS


def test_a_broken_object_is_an_error_that_names_the_remedy(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket=storage.bucket, Key=monitor_numbers.key(storage), Body=b"{}")
    with pytest.raises(json_object.StateUnreadableError, match="the next run of the monitor writes it again"):
        monitor_numbers.read(s3, storage)
