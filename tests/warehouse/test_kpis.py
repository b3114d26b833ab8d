"""Every KPI of gold is computed again in Python from the quotes, by its definition in models/gold/kpi_*.yml.

The quotes have pauses of one coin and of all, a coin with one quote, a coin that is new, one that was renamed, one that
fell silent, and a newest day that is not over.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import combinations
from math import sqrt
from pathlib import Path
from statistics import correlation, stdev
from typing import Any

import pytest

from include.settings import PROJECT_ROOT
from include.transform import inline_query, kpi_query
from tests.warehouse.warehouse import Warehouse, environment, release

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
END = MIDNIGHT - DAY + timedelta(hours=10, minutes=25)
"""Time of the newest quote, yesterday."""
PAUSES = [(END - 20 * DAY, END - 18.5 * DAY), (END - timedelta(hours=15), END - timedelta(hours=13))]
ETH_PAUSES = [(MIDNIGHT - 5 * DAY - timedelta(hours=4), MIDNIGHT - 5 * DAY), (END - 7.2 * DAY, END - 6.9 * DAY)]


@dataclass(frozen=True)
class Coin:
    """A coin's quotes, oldest first: their times (UTC, without zone) and prices in units of 10^-8 US dollars."""

    id: int
    symbol: str
    quotes: list[tuple[datetime, int]]

    @cached_property
    def closes(self) -> dict[datetime, tuple[datetime, int]]:
        """The last quote of each hour."""
        return {at.replace(minute=0, second=0): (at, price) for at, price in self.quotes}

    @cached_property
    def days(self) -> dict[date, list[tuple[datetime, int]]]:
        """The quotes of each UTC day."""
        days: dict[date, list[tuple[datetime, int]]] = {}
        for at, price in self.quotes:
            days.setdefault(at.date(), []).append((at, price))
        return days

    @cached_property
    def hourly_returns(self) -> dict[datetime, float]:
        """The return of each hour whose hour before has a close."""
        return {
            hour: price / self.closes[hour - HOUR][1] - 1
            for hour, (_, price) in self.closes.items()
            if hour - HOUR in self.closes
        }


def walk(coin_id: int, symbol: str, days: float, end: datetime = END, pauses: Any = PAUSES) -> Coin:
    """A random walk of `days` days, with a quote about every 20 minutes."""
    market = random.Random(coin_id)
    price, at, quotes = 1000.0, end - days * DAY, []
    while at <= end:
        if not any(first <= at < last for first, last in pauses):
            quotes.append((at, round(price * 10**8)))
        price *= 1 + market.gauss(0.0001, 0.004)
        at += timedelta(minutes=20)
    return Coin(coin_id, symbol, quotes)


BTC = walk(1, "BTC", 40)
ETH = walk(1027, "ETHX", 38, pauses=PAUSES + ETH_PAUSES)
NEW = walk(52, "XRP", 2)
SILENT = walk(74, "DOGE", 33, end=END - 2.3 * DAY)
SINGLE = Coin(2010, "ADA", [(END - timedelta(minutes=1), 45_000_000)])
COINS = [BTC, ETH, NEW, SILENT, SINGLE]
RENAMED_AT = END - 3 * HOUR
"""ETHX was ETH before."""


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory, dbt_artifacts: Path) -> Warehouse:
    """Gold, built from a table of silver that has the quotes of COINS."""
    warehouse = Warehouse(tmp_path_factory.mktemp("kpis"), dbt_artifacts, "lake", "http://127.0.0.1:1")
    values = ", ".join(
        f"({coin.id}, '{'ETH' if coin is ETH and at < RENAMED_AT else coin.symbol}', "
        f"timestamp '{at}', {price // 10**8}.{price % 10**8:08})"
        for coin in COINS
        for at, price in coin.quotes
    )
    warehouse.prepare()
    warehouse.execute(
        "create schema lake_silver; create table lake_silver.crypto_stage as select id::bigint as id, symbol, "
        "symbol as name, last_updated, price::decimal(18, 8) as price, 1.0::double as delay_seconds, "
        f"timestamp '{MIDNIGHT}' as loaded_at from (values {values}) as quotes (id, symbol, last_updated, price)"
    )
    warehouse.dbt("run", "--select", "crypto_curated", "kpi_latest_price", "kpi_daily", "kpi_correlation")
    return warehouse


def view(warehouse: Warehouse, name: str, order: str) -> list[dict[str, Any]]:
    columns = [column for column, *_ in warehouse.query(f"describe lake_gold.{name}")]
    return [dict(zip(columns, row, strict=True)) for row in warehouse.query(f"from lake_gold.{name} order by {order}")]


def percent(later: int, earlier: int | None) -> float | None:
    return None if earlier is None else (later / earlier - 1) * 100


def assert_same(shown: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        wanted = pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
        found = float(shown[name]) if isinstance(value, float) and shown[name] is not None else shown[name]
        assert found == wanted, name


# ---- kpi_latest_price


def price_before(coin: Coin, age: timedelta) -> int | None:
    """The newest close of an hour that is at least `age` and less than `age` and two hours old at the latest quote."""
    newest = coin.quotes[-1][0]
    prices = [price for at, price in coin.closes.values() if age <= newest - at < age + 2 * HOUR]
    return prices[-1] if prices else None


def latest(coin: Coin) -> dict[str, Any]:
    newest, price = coin.quotes[-1]
    hour = newest.replace(minute=0, second=0)
    first = coin.quotes[0][0]
    recent = [quoted for at, quoted in coin.quotes if at >= hour - 23 * HOUR]
    month = [quoted for at, quoted in coin.quotes if at >= hour - 719 * HOUR]
    returns = [change for at, change in coin.hourly_returns.items() if hour - 168 * HOUR <= at < hour]
    has_day, has_month = first < hour - 23 * HOUR, first < hour - 719 * HOUR
    return {
        "id": coin.id,
        "symbol": coin.symbol,
        "price": price / 10**8,
        "last_quote_at": newest,
        "change_percent_1h": percent(price, price_before(coin, HOUR)),
        "change_percent_24h": percent(price, price_before(coin, 24 * HOUR)),
        "change_percent_7d": percent(price, price_before(coin, 7 * DAY)),
        "change_percent_30d": percent(price, price_before(coin, 30 * DAY)),
        "high_price_24h": max(recent) / 10**8 if has_day else None,
        "low_price_24h": min(recent) / 10**8 if has_day else None,
        "quote_count_24h": len(recent),
        "volatility_percent_7d": stdev(returns) * sqrt(8760) * 100 if len(returns) >= 126 else None,
        "drawdown_percent_30d": percent(price, max(month)) if has_month else None,
    }


def test_the_latest_kpis_are_those_of_the_quotes(gold: Warehouse) -> None:
    shown = {row["id"]: row for row in view(gold, "kpi_latest_price", "id")}
    assert len(shown) == len(COINS)
    for coin in COINS:
        assert_same(shown[coin.id], latest(coin))


def test_a_kpi_without_enough_history_is_unknown_and_not_zero() -> None:
    """The quotes contain each case: what the comparison above expects."""
    unknown = {coin.symbol: {name for name, value in latest(coin).items() if value is None} for coin in COINS}
    longer = {"change_percent_7d", "change_percent_30d", "volatility_percent_7d", "drawdown_percent_30d"}
    ranges = {"change_percent_1h", "change_percent_24h", "high_price_24h", "low_price_24h"}
    assert unknown == {
        "BTC": set(),
        "ETHX": {"change_percent_7d"},
        "XRP": longer,
        "DOGE": set(),
        "ADA": longer | ranges,
    }


# ---- kpi_daily


def close_of(coin: Coin, day: date) -> int | None:
    """The last price of the day, if it was quoted at 22:00 or later."""
    return next((price for at, price in coin.days.get(day, [])[-1:] if at.hour >= 22), None)


def daily_return(coin: Coin, day: date, days: int = 1) -> float | None:
    return percent(coin.days[day][-1][1], close_of(coin, day - days * DAY))


def daily(coin: Coin, day: date) -> dict[str, Any]:
    price = coin.days[day][-1][1]
    hours = {at.hour for at, _ in coin.days[day]}
    window = [known for known in coin.days if day - 30 * DAY < known <= day]
    settled = [daily_return(coin, d) for d in window if d < END.date() and close_of(coin, d) is not None]
    returns = [change for change in settled if change is not None]
    high = max(quoted for known in window for _, quoted in coin.days[known])
    before = close_of(coin, day - DAY)
    return {
        "id": coin.id,
        "symbol": coin.symbol,
        "quote_date": day,
        "is_partial_day": len(hours) < 24 or day == END.date(),
        "previous_close_price": None if before is None else before / 10**8,
        "close_return_percent": daily_return(coin, day),
        "return_percent_7d": daily_return(coin, day, 7),
        "return_percent_30d": daily_return(coin, day, 30),
        "volatility_percent_30d": stdev(returns) * sqrt(365) if len(returns) >= 23 else None,
        "drawdown_percent_30d": percent(price, high) if min(coin.days) <= day - 30 * DAY else None,
    }


def test_the_daily_kpis_are_those_of_the_quotes(gold: Warehouse) -> None:
    shown = view(gold, "kpi_daily", "id, quote_date")
    expected = [daily(coin, day) for coin in sorted(COINS, key=lambda coin: coin.id) for day in coin.days]
    assert len(shown) == len(expected)
    for row, wanted in zip(shown, expected, strict=True):
        assert_same(row, wanted)


def test_each_daily_kpi_is_known_on_some_days_and_unknown_on_others() -> None:
    rows = [daily(coin, day) for coin in COINS for day in coin.days]
    for name in rows[0].keys() - {"id", "symbol", "quote_date", "is_partial_day"}:
        assert len({row[name] is None for row in rows}) == 2, name
    assert {row["is_partial_day"] for row in rows} == {True, False}
    assert len([row for row in rows if row["volatility_percent_30d"] is not None]) > 10


# ---- kpi_correlation


def pair(one: Coin, other: Coin) -> dict[str, Any] | None:
    last = END.replace(minute=0)
    hours = [hour for hour in one.hourly_returns if hour in other.hourly_returns]
    hours = [hour for hour in hours if last - 720 * HOUR <= hour < last]
    if not hours:
        return None
    known = [[coin.hourly_returns[hour] for hour in hours] for coin in (one, other)]
    return {
        "id": one.id,
        "other_id": other.id,
        "symbol": one.symbol,
        "other_symbol": other.symbol,
        "hours_compared": len(hours),
        "return_correlation_30d": correlation(*known) if len(hours) >= 168 else None,
    }


def test_correlations_are_those_of_the_quotes(gold: Warehouse) -> None:
    shown = view(gold, "kpi_correlation", "id, other_id")
    pairs = combinations(sorted(COINS, key=lambda coin: coin.id), 2)
    expected = [wanted for wanted in (pair(*coins) for coins in pairs) if wanted is not None]
    assert len({wanted["return_correlation_30d"] is None for wanted in expected}) == 2
    assert len(shown) == len(expected)
    for row, wanted in zip(shown, expected, strict=True):
        assert_same(row, wanted)


# ---- state and documentation


def test_the_state_has_the_values_of_the_view_and_each_hourly_close(gold: Warehouse) -> None:
    shown = gold.invoke("show", "--output", "json", "--limit", "-1", "--inline", "{{ kpi_state() }}")
    coins = kpi_query.coins(inline_query.of_table(shown.results[0].agate_table, kpi_query.Hour))
    assert [coin.id for coin in coins] == sorted(coin.id for coin in COINS)
    for coin, state in zip(sorted(COINS, key=lambda coin: coin.id), coins, strict=True):
        wanted = latest(coin)
        assert state.last_quote_at == wanted.pop("last_quote_at").replace(tzinfo=UTC)
        assert_same({name: getattr(state, name) for name in wanted}, wanted)
        last = coin.quotes[-1][0].replace(minute=0, second=0)
        closes = [coin.closes.get(last - n * HOUR) for n in reversed(range(48))]
        assert list(state.closes_48h) == [None if close is None else close[1] / 10**8 for close in closes]
    assert None in coins[0].closes_48h
    assert [close is not None for close in coins[-1].closes_48h] == [False] * 47 + [True]


def test_the_query_of_the_state_prints_no_rows(
    gold: Warehouse, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As gold's last task sends it: what dbt prints goes to the log of the task."""
    monkeypatch.setattr(inline_query, "work_folder", lambda: gold.artifacts)
    with environment(gold.variables()):
        hours = inline_query.rows("kpi_state()", kpi_query.Hour)
        release()
    assert len(kpi_query.coins(hours)) == len(COINS)
    assert "price" not in "".join(capfd.readouterr())


EXAMPLES = re.findall(r"```sql\n(.*?)```", (PROJECT_ROOT / "docs" / "bi-readers.md").read_text(), re.DOTALL)


def run_example(warehouse: Warehouse, sql: str) -> list[tuple[Any, ...]]:
    return warehouse.query(sql.replace("crypto_lakehouse_gold.", "lake_gold."))


@pytest.mark.parametrize("sql", EXAMPLES, ids=lambda sql: sql.splitlines()[0].removeprefix("-- "))
def test_the_queries_for_analysts_give_rows(gold: Warehouse, sql: str) -> None:
    assert run_example(gold, sql)


def test_each_kpi_is_in_a_query_for_analysts(gold: Warehouse) -> None:
    plain = {"id", "symbol", "name", "other_id", "other_symbol"}
    for name in ("kpi_latest_price", "kpi_daily", "kpi_correlation"):
        columns = {column for column, *_ in gold.query(f"describe lake_gold.{name}")} - plain
        named = [sql for sql in EXAMPLES if f"crypto_lakehouse_gold.{name}" in sql]
        assert [column for column in sorted(columns) if not any(column in sql for sql in named)] == [], name
