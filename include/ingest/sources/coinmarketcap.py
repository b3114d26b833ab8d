"""CoinMarketCap's `/v2/cryptocurrency/quotes/latest`; it needs a key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from include.assets import coins
from include.ingest.quote import Quote
from include.ingest.sources.base import SourceError
from include.ingest.sources.web import fetch


class _Usd(msgspec.Struct):
    price: Annotated[float, Meta(gt=0)]
    last_updated: datetime


class _Usds(msgspec.Struct):
    USD: _Usd


class _Coin(msgspec.Struct):
    quote: _Usds


class _Response(msgspec.Struct):
    data: dict[str, _Coin]


class CoinMarketCap:
    """Quotes from CoinMarketCap."""

    name = "coinmarketcap"

    def __init__(self, url: str, key: str, interval_seconds: float) -> None:
        self._url = f"{url.rstrip('/')}/v2/cryptocurrency/quotes/latest"
        self._key = key
        self.interval_seconds = interval_seconds

    def quotes(self) -> Sequence[Quote]:
        """The present quotes.

        Raises:
            SourceError: the response cannot be used, or it lacks a coin.
        """
        parameters = {"id": ",".join(str(coin.id) for coin in coins()), "convert": "USD"}
        data = fetch(self._url, parameters, {"X-CMC_PRO_API_KEY": self._key}, _Response).data
        missing = [coin.symbol for coin in coins() if str(coin.id) not in data]
        if missing:
            raise SourceError(f"{self._url}: no price for {', '.join(missing)}")
        return [
            Quote(
                id=coin.id,
                symbol=coin.symbol,
                name=coin.name,
                price=data[str(coin.id)].quote.USD.price,
                last_updated=data[str(coin.id)].quote.USD.last_updated,
            )
            for coin in coins()
        ]
