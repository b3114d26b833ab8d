"""The layer state object, on a real S3 endpoint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest
from msgspec.structs import replace

from include.settings import StorageSettings
from include.state import json_object, layer_state
from include.state.dbt_tests import DbtTests, FailingTest
from include.state.layer_state import DagRunRef, LayerState

pytestmark = pytest.mark.servers

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
GOLD = LayerState(
    layer="gold",
    model="crypto_curated",
    rows=12,
    newest_quote_at=NOW - timedelta(minutes=3),
    finished_at=NOW,
    tests=DbtTests(10, 1, 0, (FailingTest("price_in_range", "warn", 2, "Got 2 results"),)),
    run=DagRunRef("crypto_transform", "manual__1", "http://airflow.test/x"),
    scanned={"crypto_curated": 1_048_576},
)


@pytest.fixture
def storage(bucket: str) -> StorageSettings:
    return StorageSettings(bucket=bucket)


def test_the_written_state_is_read(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    assert layer_state.read_all(s3, storage) == {"bronze": None, "silver": None, "gold": None}
    written = layer_state.write(s3, storage, GOLD)
    assert layer_state.read(s3, storage, "gold") == written
    assert written.tests.failing[0].since == NOW


def test_a_broken_object_hides_no_other_layer(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    gold = layer_state.write(s3, storage, GOLD)
    broken = layer_state.key(storage, "silver")
    s3.put_object(Bucket=storage.bucket, Key=broken, Body=b"{}")
    unreadable: dict[str, str] = {}
    assert layer_state.read_all(s3, storage, unreadable) == {"bronze": None, "gold": gold}
    assert list(unreadable) == [broken]
    assert "the next build of the layer writes it again" in unreadable[broken]


def test_a_later_write_takes_over_since_of_a_test_that_still_fails(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    layer_state.write(s3, storage, GOLD)
    later = layer_state.write(s3, storage, replace(GOLD, finished_at=NOW + timedelta(hours=1)))
    assert later.tests.failing[0].since == NOW


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `layer`"),
    ],
)
def test_a_broken_object_is_an_error_and_the_next_build_replaces_it(
    storage: StorageSettings, body: bytes, says: str
) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket=storage.bucket, Key="state/layers/gold.json", Body=body)
    with pytest.raises(json_object.StateUnreadableError, match=says) as caught:
        layer_state.read(s3, storage, "gold")
    assert f"s3://{storage.bucket}/state/layers/gold.json" in str(caught.value)
    assert "the next build of the layer writes it again" in str(caught.value)
    layer_state.write(s3, storage, GOLD)
    assert layer_state.read(s3, storage, "gold") is not None
