"""Each coin's price and KPIs as the page shows them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.monitoring.page.chart import spark
from include.state.kpis import CoinKpis, Kpis

UNKNOWN = "unknown"
WIDTH, HEIGHT = 260, 48
"""Size of a coin's sparkline in user units."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change of a price over a span of time in words; `direction` is up, down or empty."""

    span: str
    text: str
    direction: str


@dataclass(frozen=True, slots=True)
class Coin:
    """One coin: its price, its changes, and further KPIs as pairs of label and text. `path` is its sparkline."""

    symbol: str
    name: str
    price: str
    changes: tuple[Change, ...]
    facts: tuple[tuple[str, str], ...]
    path: str
    course: str
    """The sparkline in words."""
    last_quote_at: datetime


def coins(kpis: Kpis | None) -> tuple[Coin, ...]:
    """The coins in the order of their ids; none without KPIs."""
    return tuple(_coin(coin) for coin in kpis.coins) if kpis else ()


def price(value: float | None) -> str:
    """A price in US dollars with at least four significant digits, like $64,123.12 or $0.5213."""
    if value is None:
        return UNKNOWN
    return f"${value:,.2f}" if value >= 100 else f"${value:,.4f}" if value >= 0.1 else f"${value:.4g}"


def _coin(coin: CoinKpis) -> Coin:
    spans = (
        ("24 h", coin.change_percent_24h),
        ("1 h", coin.change_percent_1h),
        ("7 d", coin.change_percent_7d),
        ("30 d", coin.change_percent_30d),
    )
    return Coin(
        symbol=coin.symbol,
        name=coin.name,
        price=price(coin.price),
        changes=tuple(_change(span, percent) for span, percent in spans),
        facts=(
            ("High, 24 h", price(coin.high_price_24h)),
            ("Low, 24 h", price(coin.low_price_24h)),
            ("Volatility, 7 d", _percent(coin.volatility_percent_7d)),
            ("Drawdown, 30 d", _percent(coin.drawdown_percent_30d)),
            ("Quotes, 24 h", f"{coin.quote_count_24h:,}"),
        ),
        path=spark(coin.closes_48h, WIDTH, HEIGHT),
        course=_course(coin.closes_48h),
        last_quote_at=coin.last_quote_at,
    )


def _change(span: str, percent: float | None) -> Change:
    if percent is None:
        return Change(span, UNKNOWN, "")
    return Change(span, f"{percent:+.2f} %", "up" if percent > 0 else "down" if percent < 0 else "")


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f} %"


def _course(closes: Sequence[float | None]) -> str:
    known = [close for close in closes if close is not None]
    if not known:
        return "no price in the last 48 hours"
    first, last, least, most = map(price, (known[0], known[-1], min(known), max(known)))
    return f"hourly prices of 48 hours: from {first} to {last}, least {least}, most {most}"
