"""The layer state object, on a real S3 endpoint."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.monitoring.checks import freshness
from include.settings import StorageSettings
from include.state import json_object, layer_state
from include.state.layer_state import FailingTest, LayerState, LayerTests, Run

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
GOLD = LayerState(
    layer="gold",
    model="crypto_curated",
    rows=12,
    newest_quote_at=NOW - timedelta(minutes=3),
    finished_at=NOW,
    tests=LayerTests(10, 1, 0, (FailingTest("price_in_range", "warn", 2, "Got 2 results"),)),
    run=Run("crypto_transform", "manual__1", "http://airflow.test/x"),
    scanned={"crypto_curated": 1_048_576},
)


@pytest.fixture
def storage(bucket: str) -> StorageSettings:
    return StorageSettings(bucket=bucket)


@pytest.mark.servers
def test_what_is_written_is_read(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    assert layer_state.read_all(s3, storage) == {"bronze": None, "silver": None, "gold": None}
    written = layer_state.write(s3, storage, GOLD)
    assert layer_state.read(s3, storage, "gold") == written
    assert written.tests.failing[0].since == NOW


@pytest.mark.servers
def test_since_is_carried_over_while_a_test_keeps_failing(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    layer_state.write(s3, storage, GOLD)
    later = layer_state.write(s3, storage, replace(GOLD, finished_at=NOW + timedelta(hours=1)))
    assert later.tests.failing[0].since == NOW
    layer_state.write(s3, storage, replace(GOLD, tests=LayerTests(11)))
    again = layer_state.write(s3, storage, replace(GOLD, finished_at=NOW + timedelta(hours=3)))
    assert again.tests.failing[0].since == NOW + timedelta(hours=3)


@pytest.mark.servers
@pytest.mark.parametrize(("body", "says"), [(b"{", "is not JSON"), (b"[]", "no JSON object"), (b"{}", "newest_quote")])
def test_a_broken_object_is_an_error_and_not_absent(storage: StorageSettings, body: bytes, says: str) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket=storage.bucket, Key="state/layers/gold.json", Body=body)
    with pytest.raises(json_object.StateUnreadableError, match=says) as caught:
        layer_state.read(s3, storage, "gold")
    assert f"s3://{storage.bucket}/state/layers/gold.json" in str(caught.value)
    layer_state.write(s3, storage, GOLD)  # as its text promises
    assert layer_state.read(s3, storage, "gold") is not None


@pytest.mark.parametrize(
    ("state", "first_landed", "age"),
    [
        (GOLD, None, 180.0),
        (GOLD, NOW - timedelta(days=9), 180.0),
        (None, NOW - timedelta(hours=3), 10800.0),
        (replace(GOLD, newest_quote_at=None), NOW - timedelta(hours=3), 10800.0),
        (None, None, None),
        (replace(GOLD, newest_quote_at=NOW + timedelta(seconds=5)), None, 0.0),
    ],
)
def test_data_age(state: LayerState | None, first_landed: datetime | None, age: float | None) -> None:
    assert freshness.data_age(state, first_landed, NOW) == age
