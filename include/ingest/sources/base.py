"""What a source of quotes is, and the coins we follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from include.ingest.quote import Quote


@dataclass(frozen=True, slots=True)
class Coin:
    """A coin: `id` is CoinMarketCap's, `coingecko` CoinGecko's name of it."""

    id: int
    symbol: str
    name: str
    coingecko: str


COINS: tuple[Coin, ...] = (
    Coin(1, "BTC", "Bitcoin", "bitcoin"),
    Coin(1027, "ETH", "Ethereum", "ethereum"),
    Coin(52, "XRP", "XRP", "ripple"),
)


class SourceError(RuntimeError):
    """A poll failed. `retry_after_seconds` is what the source asked for, if it did; `fatal`: repeating is useless."""

    def __init__(self, text: str, *, retry_after_seconds: float | None = None, fatal: bool = False) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds
        self.fatal = fatal


class Source(Protocol):
    """A source of quotes."""

    @property
    def name(self) -> str:
        """For logs."""

    @property
    def interval_seconds(self) -> float:
        """Seconds between two polls."""

    def quotes(self) -> Sequence[Quote]:
        """The present quotes, one a coin.

        Raises:
            SourceError: there are none now.
        """
