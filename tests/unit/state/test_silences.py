"""Silences in the bucket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.settings import StorageSettings
from include.state import silences
from include.state.silences import Silence

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
LAG = Silence(NOW + HOUR, "upgrade", "ann")


@pytest.mark.servers
def test_silences_are_kept_until_they_end(bucket: str) -> None:
    s3, storage = boto3.client("s3"), StorageSettings(bucket=bucket)
    assert silences.read(s3, storage) == ({}, None)
    silences.put(s3, storage, "kafka_lag", LAG, NOW)
    silences.put(s3, storage, "stale_gold", Silence(NOW + 3 * HOUR, "no traffic"), NOW)
    assert silences.read(s3, storage)[0]["kafka_lag"] == LAG
    silences.put(s3, storage, "dbt_tests:not_null_price", Silence(NOW + 3 * HOUR, "known"), NOW + 2 * HOUR)
    assert set(silences.read(s3, storage)[0]) == {"stale_gold", "dbt_tests:not_null_price"}


@pytest.mark.parametrize(
    ("key", "at", "silenced"),
    [
        ("kafka_lag", NOW, True),
        ("kafka_lag", NOW + HOUR, False),
        ("kafka_lag:subject", NOW, True),
        ("kafka_lag_other", NOW, False),
    ],
)
def test_a_condition_is_silenced_with_its_subjects_until_the_end(key: str, at: datetime, silenced: bool) -> None:
    assert (silences.in_force({"kafka_lag": LAG}, key, at) is not None) is silenced
