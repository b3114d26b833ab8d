"""One GET of a web source, limited in time and bytes, and the quotes in its answer.

Whatever a service answers, the result is quotes or a SourceError: an odd answer must not end the producer.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import msgspec

from include.assets import Coin, coins
from include.ingest.quote import Quote, decode, encode
from include.ingest.sources.base import Poll, SourceError
from include.reasons import reason_of

STEP_SECONDS = 10.0
"""Time limit of connecting, and of each wait for bytes."""
TOTAL_SECONDS = 20.0
"""Time limit of the whole answer. Each byte of a slow answer comes within the limit of a step."""
MOST_BYTES = 2 * 2**20
"""Limit of the whole answer, before and after decompression. CoinMarketCap sends about 2 KB for each coin."""
MAX_RETRY_AFTER_SECONDS = 86_400.0
"""A longer `Retry-After` would end the feed as an error does. CoinGecko and CoinMarketCap ask for a minute."""
KEY_REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.PAYMENT_REQUIRED, httpx.codes.FORBIDDEN)
"""Reasons at CoinMarketCap: a missing or wrong key, an unpaid plan, a plan without this endpoint."""
_MOST_DIGITS = 400
"""A longer integer is not a price or a time, and Python refuses to read one of 4,300 digits."""
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def fetch(url: str, parameters: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, object]:
    """The decoded JSON object. `headers` hold the API key, if the source needs one.

    Raises:
        SourceError: the source does not answer in time, answers with an error status, too much, or no JSON object.
    """
    try:
        response, body = asyncio.run(_get(url, parameters, headers))
        if response.status_code == httpx.codes.OK:
            return _decoded(body)
    except TimeoutError as error:
        raise SourceError(f"{url}: no complete answer within {TOTAL_SECONDS:.0f} s") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceError(f"{url}: {reason_of(error)}") from error
    except (ValueError, RecursionError, zlib.error, msgspec.ValidationError) as error:
        raise SourceError(f"{url}: unexpected response: {error}") from error
    # A free service, which needs no key, answers 403 to a client that asks too often. A later request succeeds.
    refused = bool(headers) and response.status_code in KEY_REFUSED
    raise SourceError(
        f"{url}: HTTP {response.status_code}" + (" (is the API key right?)" if refused else ""),
        retry_after_seconds=_retry_after(response.headers.get("Retry-After", "")),
        fatal=refused,
    )


async def _get(url: str, parameters: Mapping[str, str], headers: Mapping[str, str]) -> tuple[httpx.Response, bytes]:
    """The response without its body, and the body, which is empty unless the status is 200."""
    # An asynchronous request can be cancelled wherever it waits, also among the bytes of a header.
    async with (
        asyncio.timeout(TOTAL_SECONDS),
        httpx.AsyncClient(timeout=STEP_SECONDS) as client,
        client.stream("GET", url, params=dict(parameters), headers={"Accept-Encoding": "gzip", **headers}) as response,
    ):
        body = bytearray()
        if response.status_code == httpx.codes.OK:
            async for part in response.aiter_raw():
                body += part
                _require_size(len(body))
        return response, _decompressed(bytes(body), response.headers.get("Content-Encoding", "identity"))


def _decompressed(body: bytes, encoding: str) -> bytes:
    """The body without its compression. At most one byte more than allowed is decompressed."""
    if encoding == "identity" or not body:
        return body
    if encoding not in ("gzip", "deflate"):
        raise ValueError(f"Content-Encoding {encoding!r} was not asked for")
    plain = zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, MOST_BYTES + 1)
    _require_size(len(plain))
    return plain


def _require_size(size: int) -> None:
    if size > MOST_BYTES:
        raise ValueError(f"the answer has more than {MOST_BYTES} bytes")


def _decoded(body: bytes) -> dict[str, object]:
    """The JSON object. `NaN`, which JSON does not know, is a number here: it must cost its own coin only."""
    content = json.loads(body.decode(), parse_int=lambda text: int(text) if len(text) <= _MOST_DIGITS else float(text))
    return msgspec.convert(content, dict[str, object])


def _retry_after(value: str) -> float | None:
    """The header Retry-After in seconds; it holds a number or an HTTP date."""
    try:
        if value.isascii() and value.isdigit():
            return min(float(value), MAX_RETRY_AFTER_SECONDS)
        seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS)


def quotes_of(url: str, read: Callable[[Coin], Quote]) -> Poll:
    """A poll with the quote that `read` finds for each coin. `read` raises ValueError if there is no usable one.

    A quote is usable if the consumer accepts its message.

    Raises:
        SourceError: no coin has a usable quote.
    """
    quotes: list[Quote] = []
    unusable: dict[str, str] = {}
    for coin in coins():
        try:
            quote = read(coin)
            decode(encode(quote))  # raises an error if the consumer would refuse the message
            quotes.append(quote)
        except (ValueError, OverflowError, OSError, msgspec.ValidationError) as error:
            unusable[coin.symbol] = str(error)
    if not quotes:
        raise SourceError(f"{url}: no usable quote: {named(unusable)}")
    return Poll(quotes, unusable)


def named(unusable: Mapping[str, str]) -> str:
    """Coins without a usable quote, with the reason of each."""
    return ", ".join(f"{symbol} ({reason})" for symbol, reason in unusable.items())
