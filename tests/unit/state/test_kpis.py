"""The KPIs of the coins, on a real S3 endpoint."""

from __future__ import annotations

from datetime import UTC, datetime

import boto3
import pytest

from include.settings import StorageSettings
from include.state import json_object, kpis
from include.state.kpis import CoinKpis, Kpis
from include.state.layer_state import DagRunRef

pytestmark = pytest.mark.servers

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
NEW_COIN = CoinKpis(
    id=1,
    symbol="BTC",
    name="Bitcoin",
    price=88_123.45678901,
    last_quote_at=NOW,
    change_percent_1h=None,
    change_percent_24h=None,
    change_percent_7d=None,
    change_percent_30d=None,
    high_price_24h=None,
    low_price_24h=None,
    quote_count_24h=1,
    volatility_percent_7d=None,
    drawdown_percent_30d=None,
    closes_48h=(None,) * 47 + (88_123.45678901,),
)
KPIS = Kpis(NOW, (NEW_COIN,), DagRunRef("crypto_transform", "r", "http://airflow.test/r"))


@pytest.fixture
def storage(bucket: str) -> StorageSettings:
    return StorageSettings(bucket=bucket)


def test_unknown_kpis_are_read_as_unknown(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    assert kpis.read(s3, storage) is None
    kpis.write(s3, storage, KPIS)
    assert kpis.read(s3, storage) == KPIS
    stored = s3.get_object(Bucket=storage.bucket, Key="state/kpis.json")["Body"].read()
    assert b'"change_percent_1h": null' in stored
    assert len(stored) < 3000  # for each coin; the page reads it often


def test_a_broken_object_is_an_error_that_names_the_remedy(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket=storage.bucket, Key=kpis.key(storage), Body=b"{}")
    with pytest.raises(json_object.StateUnreadableError, match="the next build of gold writes it again"):
        kpis.read(s3, storage)
