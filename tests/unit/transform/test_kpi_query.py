"""The rows of the query of KPIs become one entry for each coin. tests/warehouse/test_kpis.py runs the query."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from dbt_common.clients.agate_helper import table_from_data_flat

from include.transform import inline_query, kpi_query

NEWEST = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


def row(coin: int, hours_ago: int, close: str, **known: Any) -> dict[str, Any]:
    """A row as an engine gives it; most KPIs are unknown."""
    start = NEWEST.replace(minute=0) - timedelta(hours=hours_ago)
    unknown = dict.fromkeys(kpi_query.Hour.__struct_fields__)
    named = {"symbol": "BTC", "name": "Bitcoin", "price": Decimal("2.5"), "quote_count_24h": Decimal(7)}
    times = {"last_quote_ms": milliseconds(NEWEST), "hour_start_ms": milliseconds(start)}
    return unknown | named | times | {"id": Decimal(coin), "close_price": Decimal(close)} | known


def milliseconds(at: datetime) -> Decimal:
    return Decimal(int(at.timestamp() * 1000))


def hours(*rows: dict[str, Any]) -> list[kpi_query.Hour]:
    table = table_from_data_flat(rows, rows[0])  # as dbt makes it of the adapter's answer
    return inline_query.of_table(table, kpi_query.Hour)


def test_each_coin_is_one_entry_with_its_hourly_closes() -> None:
    one, other = kpi_query.coins(hours(row(1, 47, "1"), row(1, 2, "2"), row(1, 0, "2.5"), row(52, 0, "3")))
    assert (one.id, one.price, one.quote_count_24h, one.last_quote_at) == (1, 2.5, 7, NEWEST)
    assert one.closes_48h == (1.0, *[None] * 44, 2.0, None, 2.5)
    assert (other.id, other.closes_48h[-1], set(other.closes_48h[:-1])) == (52, 3.0, {None})


def test_an_unknown_kpi_stays_unknown_and_a_zero_stays_zero() -> None:
    (coin,) = kpi_query.coins(hours(row(1, 0, "1", change_percent_1h=Decimal(0))))
    assert (coin.change_percent_1h, coin.change_percent_24h, coin.drawdown_percent_30d) == (0.0, None, None)


def test_without_a_quote_there_is_no_coin() -> None:
    assert kpi_query.coins([]) == ()


def test_a_row_without_a_price_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="price"):
        hours(row(1, 0, "1", price=None))
