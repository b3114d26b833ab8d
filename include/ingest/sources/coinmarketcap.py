"""CoinMarketCap's `/v2/cryptocurrency/quotes/latest`; it needs a key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from include.assets import Coin, coins
from include.ingest.quote import Quote
from include.ingest.sources.base import Poll, SourceError
from include.ingest.sources.web import fetch, quotes_of


class _Usd(msgspec.Struct):
    price: Annotated[float, Meta(gt=0)]
    last_updated: datetime


class _Usds(msgspec.Struct):
    USD: _Usd


class _Coin(msgspec.Struct):
    quote: _Usds


class CoinMarketCap:
    """Quotes from CoinMarketCap."""

    name = "coinmarketcap"

    def __init__(self, url: str, key: str, interval_seconds: float) -> None:
        self._url = f"{url.rstrip('/')}/v2/cryptocurrency/quotes/latest"
        self._key = key
        self.interval_seconds = interval_seconds

    def poll(self) -> Poll:
        """The present quotes.

        Raises:
            SourceError: the response cannot be used, or has no usable quote.
        """
        # Without `skip_invalid`, one id that the service does not know fails the request for all.
        parameters = {"id": ",".join(str(coin.id) for coin in coins()), "convert": "USD", "skip_invalid": "true"}
        answer = fetch(self._url, parameters, {"X-CMC_PRO_API_KEY": self._key})
        data = answer.get("data")
        if not isinstance(data, dict):
            raise SourceError(f"{self._url}: unexpected response: field 'data' is not an object")
        return quotes_of(self._url, lambda coin: _quote(coin, data))


def _quote(coin: Coin, data: Mapping[str, object]) -> Quote:
    if str(coin.id) not in data:
        raise ValueError(f"the answer has no '{coin.id}'")
    usd = msgspec.convert(data[str(coin.id)], _Coin).quote.USD
    return Quote(id=coin.id, symbol=coin.symbol, name=coin.name, price=usd.price, last_updated=usd.last_updated)
