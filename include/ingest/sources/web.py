"""One GET of a web source, with what its status codes mean for repeating it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import httpx
import msgspec

from include.ingest.sources.base import SourceError

TIMEOUT_SECONDS = 10.0
Answer = TypeVar("Answer")


def fetch(url: str, parameters: Mapping[str, str], headers: Mapping[str, str], shape: type[Answer]) -> Answer:
    """The decoded answer.

    Raises:
        SourceError: no answer, an error status, or an answer of another shape.
    """
    try:
        response = httpx.get(url, params=dict(parameters), headers=dict(headers), timeout=TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        raise SourceError(f"{url}: {type(error).__name__} {error}") from error
    if response.status_code != httpx.codes.OK:
        refused = response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
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
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None
