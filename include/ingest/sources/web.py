"""One GET of a web source, with what its status codes mean for repeating it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
import msgspec

from include.ingest.sources.base import SourceError

TIMEOUT_SECONDS = 10.0
KEY_REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.PAYMENT_REQUIRED, httpx.codes.FORBIDDEN)
"""CoinMarketCap: no or a wrong key, a plan not paid, a plan without this endpoint."""
Answer = TypeVar("Answer")


def fetch(url: str, parameters: Mapping[str, str], headers: Mapping[str, str], shape: type[Answer]) -> Answer:
    """The decoded answer.

    Raises:
        SourceError: no answer, an error status, or an answer of another shape. `headers` carry a key, if any.
    """
    try:
        response = httpx.get(url, params=dict(parameters), headers=dict(headers), timeout=TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        raise SourceError(f"{url}: {type(error).__name__} {error}") from error
    if response.status_code != httpx.codes.OK:
        # Without a key a 403 is a passing one: a free service that blocks who asks too often.
        refused = bool(headers) and response.status_code in KEY_REFUSED
        raise SourceError(
            f"{url}: HTTP {response.status_code}" + (" (is the API key right?)" if refused else ""),
            retry_after_seconds=_retry_after(response),
            fatal=refused,
        )
    try:
        return msgspec.json.decode(response.content, type=shape)
    except msgspec.MsgspecError as error:
        raise SourceError(f"{url}: unexpected answer: {error}") from error


def _retry_after(response: httpx.Response) -> float | None:
    """Retry-After in seconds: a number, or an HTTP date."""
    value = str(response.headers.get("Retry-After", ""))
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
