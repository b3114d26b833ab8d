"""CoinGecko's `/simple/price`: free, without a key, a few requests a minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from include.assets import coins
from include.ingest.quote import Quote
from include.ingest.sources.base import SourceError
from include.ingest.sources.web import fetch


class _Price(msgspec.Struct):
    usd: Annotated[float, Meta(gt=0)]
    last_updated_at: int


class CoinGecko:
    """Quotes from CoinGecko, with CoinMarketCap's ids."""

    name = "coingecko"

    def __init__(self, url: str, interval_seconds: float) -> None:
        self._url = f"{url.rstrip('/')}/simple/price"
        self.interval_seconds = interval_seconds

    def quotes(self) -> Sequence[Quote]:
        """The present quotes.

        Raises:
            SourceError: the response cannot be used, or it lacks a coin.
        """
        parameters = {
            "ids": ",".join(coin.coingecko_id for coin in coins()),
            "vs_currencies": "usd",
            "include_last_updated_at": "true",
            "precision": "full",
        }
        prices = fetch(self._url, parameters, {}, dict[str, _Price])
        missing = [coin.coingecko_id for coin in coins() if coin.coingecko_id not in prices]
        if missing:
            raise SourceError(f"{self._url}: no price for {', '.join(missing)}")
        return [
            Quote(
                id=coin.id,
                symbol=coin.symbol,
                name=coin.name,
                price=prices[coin.coingecko_id].usd,
                last_updated=datetime.fromtimestamp(prices[coin.coingecko_id].last_updated_at, UTC),
            )
            for coin in coins()
        ]
