"""CoinMarketCap's /v2/cryptocurrency/quotes/latest; needs a key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from include.ingest.quote import Quote
from include.ingest.sources.base import COINS, SourceError
from include.ingest.sources.web import fetch


class _Usd(msgspec.Struct):
    price: Annotated[float, Meta(gt=0)]
    last_updated: datetime


class _Usds(msgspec.Struct):
    USD: _Usd


class _Coin(msgspec.Struct):
    quote: _Usds


class _Answer(msgspec.Struct):
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
            SourceError: no usable answer, or a coin is missing.
        """
        parameters = {"id": ",".join(str(coin.id) for coin in COINS), "convert": "USD"}
        data = fetch(self._url, parameters, {"X-CMC_PRO_API_KEY": self._key}, _Answer).data
        missing = [coin.symbol for coin in COINS if str(coin.id) not in data]
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
            for coin in COINS
        ]
