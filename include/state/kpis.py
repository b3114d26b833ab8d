"""Each coin's KPIs after the last build of gold (`state/kpis.json`).

Gold's last task writes the object. Pipeline Health and the demo's screen read it and never query the warehouse.
`include/dbt/models/gold/kpi_latest_price.yml` defines each KPI; a field has the name of the view's column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object
from include.state.layer_state import DagRunRef

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class KpiValues(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one coin up to its latest price. Prices are in US dollars; None where the history is too short."""

    id: int
    symbol: str
    name: str
    price: float
    change_percent_1h: float | None
    change_percent_24h: float | None
    change_percent_7d: float | None
    change_percent_30d: float | None
    high_price_24h: float | None
    low_price_24h: float | None
    quote_count_24h: int
    volatility_percent_7d: float | None
    drawdown_percent_30d: float | None


class CoinKpis(KpiValues, frozen=True, kw_only=True):
    """One coin's values and its newest closes.

    `closes_48h` has the closing prices of the 48 hours that end with the hour of `last_quote_at`, oldest first; None
    for an hour without quotes.
    """

    last_quote_at: Instant
    closes_48h: tuple[float | None, ...]


class Kpis(msgspec.Struct, frozen=True):
    """The coins with a quote in gold's newest 35 days, by id, as `run` left them at `finished_at`."""

    finished_at: Instant
    coins: tuple[CoinKpis, ...]
    run: DagRunRef


def key(storage: StorageSettings) -> str:
    """Key of the object."""
    return f"{storage.state_prefix}kpis.json"


def read(s3: S3Client, storage: StorageSettings) -> Kpis | None:
    """The KPIs, or None before the first build of gold that writes them.

    Raises:
        StateUnreadableError: the object exists but is broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    remedy = "the next build of gold writes it again"
    stored = json_object.read(s3, storage.bucket, key(storage), Kpis, remedy)
    return stored[0] if stored else None


def write(s3: S3Client, storage: StorageSettings, kpis: Kpis) -> None:
    """Write the KPIs.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    json_object.write(s3, storage.bucket, key(storage), kpis)
