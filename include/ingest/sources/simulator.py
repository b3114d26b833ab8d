"""A simulated market: the price is a pure function of (seed, symbol, time).

The logarithm of a price is a Brownian bridge over spans of 2^25 s (388 days). It is fixed to the coin's base price at
both ends of a span and refined by hashed midpoints down to 1/16 s. A restart therefore continues the same path. Any
part of the history can be computed without the parts before it, and history joins the present without a jump.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from math import exp, floor, log10, sqrt
from statistics import NormalDist

import msgspec

from include.assets import Coin, coins
from include.ingest.quote import Quote, encode
from include.ingest.sources.base import Poll
from include.settings import SimulatorSettings

SPAN_SECONDS = 2**25
LEVELS = 29
"""Halvings of a span: the finest interval is 1/16 s."""
YEAR_SECONDS = 365.25 * 86_400
LATE_SECONDS = 90.0
MOST_SCALE = 1e6

_NORMAL = NormalDist()


def _normal(seed: int, symbol: str, span: int, level: int, index: int) -> float:
    """A standard normal number, the same for the same arguments on every machine."""
    digest = blake2b(f"{seed}/{symbol}/{span}/{level}/{index}".encode(), digest_size=8).digest()
    return _NORMAL.inv_cdf((int.from_bytes(digest, "big") + 0.5) / 2**64)


def price(seed: int, coin: Coin, at: datetime) -> float:
    """Price in US dollars at an instant with zone."""
    seconds = at.timestamp()
    span = floor(seconds / SPAN_SECONDS)
    left, width = span * float(SPAN_SECONDS), float(SPAN_SECONDS)
    low, high, index = 0.0, 0.0, 0
    for level in range(LEVELS):
        deviation = coin.simulator_volatility * sqrt(width / YEAR_SECONDS) / 2
        middle = (low + high) / 2 + deviation * _normal(seed, coin.symbol, span, level, index)
        width /= 2
        if seconds < left + width:
            high, index = middle, 2 * index
        else:
            low, left, index = middle, left + width, 2 * index + 1
    share = (seconds - left) / width
    return _rounded(coin.simulator_base_price * exp(low + (high - low) * share))


def _rounded(value: float) -> float:
    """Cents from 1,000 US dollars on; below, six decimals or six significant digits, whichever is finer."""
    return round(value, 2 if value >= 1000 else max(6, 5 - floor(log10(value))))


class Simulator:
    """Quotes of the simulated market. `scale` is a factor of each symbol's price; 1 for a symbol that it lacks."""

    name = "simulator"

    def __init__(self, settings: SimulatorSettings, scale: dict[str, float] | None = None) -> None:
        self._settings = settings
        self._scale = scale or {}
        self.interval_seconds = settings.interval_seconds

    def poll(self) -> Poll:
        """The present quotes."""
        return Poll(self.quotes_at(datetime.now(UTC)))

    def quotes_at(self, at: datetime) -> Sequence[Quote]:
        """The quotes of an instant, which is cut to the millisecond."""
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        return [self._quote(coin, at) for coin in coins()]

    def _quote(self, coin: Coin, at: datetime) -> Quote:
        frozen = coin.symbol == self._settings.frozen_symbol
        value = coin.simulator_base_price if frozen else price(self._settings.seed, coin, at)
        value = _rounded(value * self._scale.get(coin.symbol, 1.0))
        return Quote(id=coin.id, symbol=coin.symbol, name=coin.name, price=value, last_updated=at)

    def history(self, until: datetime) -> Iterator[Quote]:
        """Quotes of the `history_hours` before `until`, oldest first."""
        step = timedelta(seconds=self._settings.history_interval_seconds)
        count = int(self._settings.history_hours * 3600 / self._settings.history_interval_seconds)
        for index in range(count, 0, -1):
            yield from self.quotes_at(until - index * step)

    def scaled_to(self, live: Sequence[Quote]) -> Simulator:
        """A simulator whose path passes through live prices at their time.

        A price that is a million times off the simulator's is an error of the source, and is left out.
        """
        by_symbol = {coin.symbol: coin for coin in coins()}
        scale = {
            quote.symbol: quote.price / price(self._settings.seed, by_symbol[quote.symbol], quote.last_updated)
            for quote in live
            if quote.symbol in by_symbol
        }
        usable = {symbol: factor for symbol, factor in scale.items() if 1 / MOST_SCALE < factor < MOST_SCALE}
        return Simulator(self._settings, usable)


@dataclass(frozen=True, slots=True)
class Message:
    """A message ready to send; `not_before` delays a late message."""

    key: str
    value: bytes
    not_before: datetime | None = None


class FaultInjection:
    """Breaks, duplicates and delays messages in the configured shares; seeded."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)

    def messages(self, quote: Quote) -> list[Message]:
        """The messages to send for a quote."""
        value = encode(quote)
        if self._random.random() < self._settings.bad_share:
            value = self._broken(quote, value)
        late = self._random.random() < self._settings.late_share
        not_before = datetime.now(UTC) + timedelta(seconds=self._random.uniform(1, LATE_SECONDS)) if late else None
        first = Message(quote.symbol, value, not_before)
        if self._random.random() < self._settings.duplicate_share:
            return [first, Message(quote.symbol, value)]
        return [first]

    def _broken(self, quote: Quote, value: bytes) -> bytes:
        fields = msgspec.to_builtins(quote)
        without_price = {name: content for name, content in fields.items() if name != "price"}
        broken_values = [
            value[: len(value) // 2],
            msgspec.json.encode(without_price),
            msgspec.json.encode(fields | {"price": -1.0}),
            msgspec.json.encode(fields | {"price": "n/a"}),
            msgspec.json.encode(fields | {"last_updated": "yesterday"}),
            msgspec.json.encode(fields | {"_offset": 0}),
            b"\xff\xfe",
        ]
        return self._random.choice(broken_values)
