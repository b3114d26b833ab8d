"""The KPIs of each coin, from one query of gold's newest days; the macro `kpi_state` has the SQL."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from include.settings import StorageSettings
from include.state import kpis
from include.state.kpis import CoinKpis, Kpis, KpiValues
from include.state.layer_state import DagRunRef
from include.transform import inline_query

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HOUR_MS = 3_600_000
HOURS = 48
"""Closing prices that the state keeps for each coin; the macro selects the same hours."""


class Hour(KpiValues, frozen=True, kw_only=True):
    """A row of `kpi_state`: one of a coin's newest hours, with the coin's KPIs. Times are in ms since 1970."""

    last_quote_ms: int
    hour_start_ms: int
    close_price: float


def record(s3: S3Client, storage: StorageSettings, run: DagRunRef) -> Kpis:
    """Query the KPIs, write them to S3 and return them.

    Raises:
        InlineQueryError: gold could not be queried.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    found = Kpis(datetime.now(UTC), coins(inline_query.rows("kpi_state()", Hour)), run)
    kpis.write(s3, storage, found)
    return found


def coins(hours: Iterable[Hour]) -> tuple[CoinKpis, ...]:
    """The coins of the rows of `kpi_state`, which are in the order of id and hour."""
    return tuple(_coin(list(rows)) for _, rows in groupby(hours, lambda hour: hour.id))


def _coin(hours: list[Hour]) -> CoinKpis:
    newest = hours[-1]
    known = {hour.hour_start_ms // HOUR_MS: hour.close_price for hour in hours}
    last = newest.last_quote_ms // HOUR_MS
    found = msgspec.structs.asdict(newest) | {
        "last_quote_at": datetime.fromtimestamp(newest.last_quote_ms / 1000, UTC),
        "closes_48h": [known.get(hour) for hour in range(last - HOURS + 1, last + 1)],
    }
    return msgspec.convert(found, CoinKpis)
