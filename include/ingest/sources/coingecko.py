"""CoinGecko's `/simple/price`: free, without a key, a few requests a minute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from include.assets import Coin, coins
from include.ingest.quote import Quote
from include.ingest.sources.base import Poll
from include.ingest.sources.web import fetch, quotes_of


class _Price(msgspec.Struct):
    usd: Annotated[float, Meta(gt=0)]
    last_updated_at: int


class CoinGecko:
    """Quotes from CoinGecko, with CoinMarketCap's ids."""

    name = "coingecko"

    def __init__(self, url: str, interval_seconds: float) -> None:
        self._url = f"{url.rstrip('/')}/simple/price"
        self.interval_seconds = interval_seconds

    def poll(self) -> Poll:
        """The present quotes.

        Raises:
            SourceError: the response cannot be used, or has no usable quote.
        """
        parameters = {
            "ids": ",".join(coin.coingecko_id for coin in coins()),
            "vs_currencies": "usd",
            "include_last_updated_at": "true",
            "precision": "full",
        }
        answer = fetch(self._url, parameters, {})
        return quotes_of(self._url, lambda coin: _quote(coin, answer))


def _quote(coin: Coin, answer: Mapping[str, object]) -> Quote:
    if coin.coingecko_id not in answer:
        raise ValueError(f"the answer has no {coin.coingecko_id!r}")
    price = msgspec.convert(answer[coin.coingecko_id], _Price)
    return Quote(
        id=coin.id,
        symbol=coin.symbol,
        name=coin.name,
        price=price.usd,
        last_updated=datetime.fromtimestamp(price.last_updated_at, UTC),
    )
