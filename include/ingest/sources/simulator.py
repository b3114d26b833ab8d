"""A simulated market: the price is a pure function of (seed, symbol, time).

The logarithm of a price is a Brownian bridge over spans of 2^25 s (388 days), pinned to
the coin's base price at their ends and refined by hashed midpoints down to 1/16 s. So a
restart goes on with the same path, any stretch of history can be made without the ones
before it, and history joins the present without a jump.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from math import exp, floor, sqrt
from statistics import NormalDist

import msgspec

from include.ingest.quote import Quote, encode
from include.ingest.sources.base import COINS, Coin
from include.settings import SimulatorSettings

SPAN_SECONDS = 2**25
LEVELS = 29
"""Halvings of a span: the finest stretch is 1/16 s."""
YEAR_SECONDS = 365.25 * 86_400
LATE_SECONDS = 90.0

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Asset:
    """`base` in US dollars; `volatility` a year (standard deviation of the logarithm)."""

    base: float
    volatility: float


ASSETS = {"BTC": Asset(88_000.0, 0.45), "ETH": Asset(2_900.0, 0.65), "XRP": Asset(2.1, 0.80)}
"""Round prices of late 2025 and volatilities of the order these coins showed in 2023 to 2025."""


def _normal(seed: int, symbol: str, span: int, level: int, index: int) -> float:
    """A standard normal number, the same for the same arguments on every machine."""
    digest = blake2b(f"{seed}/{symbol}/{span}/{level}/{index}".encode(), digest_size=8).digest()
    return _NORMAL.inv_cdf((int.from_bytes(digest, "big") + 0.5) / 2**64)


def price(seed: int, symbol: str, at: datetime) -> float:
    """Price in US dollars at an instant with zone."""
    asset = ASSETS[symbol]
    seconds = at.timestamp()
    span = floor(seconds / SPAN_SECONDS)
    left, width = span * float(SPAN_SECONDS), float(SPAN_SECONDS)
    low, high, index = 0.0, 0.0, 0
    for level in range(LEVELS):
        deviation = asset.volatility * sqrt(width / YEAR_SECONDS) / 2
        middle = (low + high) / 2 + deviation * _normal(seed, symbol, span, level, index)
        width /= 2
        if seconds < left + width:
            high, index = middle, 2 * index
        else:
            low, left, index = middle, left + width, 2 * index + 1
    share = (seconds - left) / width
    return _rounded(asset.base * exp(low + (high - low) * share))


def _rounded(value: float) -> float:
    """Six significant digits or cents, whichever is finer."""
    return round(value, 2 if value >= 1000 else 6)


class Simulator:
    """Quotes of the simulated market. `scale` multiplies a symbol's price (to end at a live one)."""

    name = "simulator"

    def __init__(self, settings: SimulatorSettings, scale: dict[str, float] | None = None) -> None:
        self._settings = settings
        self._scale = scale or {}
        self.interval_seconds = settings.interval_seconds

    def quotes(self) -> Sequence[Quote]:
        """The quotes of now."""
        return self.quotes_at(datetime.now(UTC))

    def quotes_at(self, at: datetime) -> Sequence[Quote]:
        """The quotes of an instant, to the millisecond."""
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        return [self._quote(coin, at) for coin in COINS]

    def _quote(self, coin: Coin, at: datetime) -> Quote:
        if coin.symbol == self._settings.frozen_symbol:
            value = ASSETS[coin.symbol].base
        else:
            value = price(self._settings.seed, coin.symbol, at)
        value = _rounded(value * self._scale.get(coin.symbol, 1.0))
        return Quote(id=coin.id, symbol=coin.symbol, name=coin.name, price=value, last_updated=at)

    def history(self, until: datetime) -> Iterator[Quote]:
        """Quotes of the `history_hours` before `until`, oldest first."""
        step = timedelta(seconds=self._settings.history_interval_seconds)
        count = int(self._settings.history_hours * 3600 / self._settings.history_interval_seconds)
        for index in range(count, 0, -1):
            yield from self.quotes_at(until - index * step)

    def scaled_to(self, live: Sequence[Quote]) -> Simulator:
        """A simulator whose walk passes through live prices at their time."""
        scale = {
            quote.symbol: quote.price / price(self._settings.seed, quote.symbol, quote.last_updated)
            for quote in live
            if quote.symbol in ASSETS
        }
        return Simulator(self._settings, scale)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message ready to send; `not_before` delays a late one."""

    key: str
    value: bytes
    not_before: datetime | None = None


class Misbehaviour:
    """Breaks, doubles and delays messages in the configured shares; seeded."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)

    def messages(self, quote: Quote) -> list[Outgoing]:
        """What is sent for a quote."""
        value = encode(quote)
        if self._random.random() < self._settings.bad_share:
            value = self._broken(quote, value)
        late = self._random.random() < self._settings.late_share
        hold = datetime.now(UTC) + timedelta(seconds=self._random.uniform(1, LATE_SECONDS)) if late else None
        first = Outgoing(quote.symbol, value, hold)
        if self._random.random() < self._settings.duplicate_share:
            return [first, Outgoing(quote.symbol, value)]
        return [first]

    def _broken(self, quote: Quote, value: bytes) -> bytes:
        fields = msgspec.to_builtins(quote)
        without_price = {name: found for name, found in fields.items() if name != "price"}
        kinds = [
            value[: len(value) // 2],
            msgspec.json.encode(without_price),
            msgspec.json.encode(fields | {"price": -1.0}),
            msgspec.json.encode(fields | {"price": "n/a"}),
            msgspec.json.encode(fields | {"last_updated": "yesterday"}),
            msgspec.json.encode(fields | {"_offset": 0}),
            b"\xff\xfe",
        ]
        return self._random.choice(kinds)
