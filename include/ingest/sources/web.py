"""One GET of a web source; its status code decides whether a repetition can help."""

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
"""Reasons at CoinMarketCap: a missing or wrong key, an unpaid plan, a plan without this endpoint."""
Body = TypeVar("Body")


def fetch(url: str, parameters: Mapping[str, str], headers: Mapping[str, str], shape: type[Body]) -> Body:
    """The decoded response. `headers` hold the API key, if the source needs one.

    Raises:
        SourceError: the source does not respond, responds with an error status, or with another shape.
    """
    try:
        response = httpx.get(url, params=dict(parameters), headers=dict(headers), timeout=TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        raise SourceError(f"{url}: {type(error).__name__} {error}") from error
    if response.status_code != httpx.codes.OK:
        # A free service, which needs no key, answers 403 to a client that asks too often. A later request succeeds.
        refused = bool(headers) and response.status_code in KEY_REFUSED
        raise SourceError(
            f"{url}: HTTP {response.status_code}" + (" (is the API key right?)" if refused else ""),
            retry_after_seconds=_retry_after(response),
            fatal=refused,
        )
    try:
        return msgspec.json.decode(response.content, type=shape)
    except msgspec.MsgspecError as error:
        raise SourceError(f"{url}: unexpected response: {error}") from error


def _retry_after(response: httpx.Response) -> float | None:
    """The header Retry-After in seconds; it holds a number or an HTTP date."""
    value = str(response.headers.get("Retry-After", ""))
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
