"""The message: what a valid quote is, and how a bad one is named.

    {"id": 1, "symbol": "BTC", "name": "Bitcoin", "price": 64123.12, "last_updated": "2026-11-23T20:15:07Z"}

`id` is CoinMarketCap's (BTC 1, ETH 1027, XRP 52), `price` is in US dollars, `last_updated`
is ISO 8601 (RFC 3339) with a zone. More fields are allowed and kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from include.landing import body
from include.landing.dead_letter import ErrorClass

MAX_SYMBOL = 32
MAX_NAME = 200
MAX_ID = 2**63 - 1
"""The largest BIGINT of the warehouse."""
AT_ONCE_BYTES = 2**20
"""Values of more bytes together are looked at one by one, which takes no memory beside them."""

_Never = Annotated[int, Meta(gt=1, lt=0)]
"""A type without values: a message that has the field at all does not decode."""


class Quote(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One quote of one coin. Its fields cannot make cycles: the collector has no business with it."""

    id: Annotated[int, Meta(ge=1, le=MAX_ID)]
    symbol: Annotated[str, Meta(min_length=1, max_length=MAX_SYMBOL)]
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    price: Annotated[float, Meta(gt=0)]
    last_updated: Annotated[datetime, Meta(tz=True)]


class _Received(Quote, frozen=True, kw_only=True, gc=False):
    """A quote as it comes from the topic: it must not bring the names that landing adds."""

    topic_: _Never = msgspec.field(name="_topic", default=0)
    partition_: _Never = msgspec.field(name="_partition", default=0)
    offset_: _Never = msgspec.field(name="_offset", default=0)
    timestamp_: _Never = msgspec.field(name="_timestamp", default=0)


decode = msgspec.json.Decoder(_Received).decode
"""Bytes to quote; raises one of `_NOT_A_QUOTE`."""
_decode_array = msgspec.json.Decoder(list[_Received]).decode
_NOT_A_QUOTE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class InvalidQuoteError(ValueError):
    """A message that is no quote; `error_class` is one of the dead letters' classes."""

    def __init__(self, error_class: ErrorClass, text: str) -> None:
        super().__init__(text)
        self.error_class: ErrorClass = error_class


_AT = re.compile(r"`\$\.([^`\[.]+)")
_UNREADABLE_TIME = ("Invalid RFC3339", "timezone")


def explain(error: Exception) -> InvalidQuoteError:
    """Which class of rejection a decoding error is."""
    text = str(error)
    place = _AT.search(text)
    if place and place[1] in body.RESERVED_FIELDS:
        return InvalidQuoteError("reserved_field", f"field {place[1]} is reserved for the message's place in Kafka")
    if isinstance(error, UnicodeDecodeError) or "utf-8" in text.lower():
        return InvalidQuoteError("not_utf8", text)
    if not isinstance(error, msgspec.ValidationError):
        return InvalidQuoteError("not_json", text)
    if "missing required field" in text:
        return InvalidQuoteError("missing_field", text)
    if ", got `" in text or any(part in text for part in _UNREADABLE_TIME):
        return InvalidQuoteError("wrong_type", text)
    return InvalidQuoteError("out_of_range", text)


def validate(value: bytes | None, max_bytes: int) -> Quote:
    """The quote in a message's value.

    Raises:
        InvalidQuoteError: it is none; says which class and why.
    """
    if not value:
        raise InvalidQuoteError("empty", "the message has no value")
    if len(value) > max_bytes:
        raise InvalidQuoteError(
            "too_large", f"the message has {len(value)} bytes, CONSUMER_MAX_MESSAGE_BYTES allows {max_bytes}"
        )
    try:
        quote = decode(value)
        _check_utf8(value)
    except _NOT_A_QUOTE as error:
        raise explain(error) from error
    return quote


def check(values: Sequence[bytes | None], max_bytes: int) -> tuple[list[bytes], dict[int, InvalidQuoteError]]:
    """What `validate` says of each value: as `body.bare` makes it, or empty, and by index, ascending, what is wrong."""
    found = _bare_if_all_valid(values, max_bytes)
    if found is not None:
        return found, {}
    found, errors = [], {}
    for index, value in enumerate(values):
        try:
            validate(value, max_bytes)
        except InvalidQuoteError as error:
            errors[index] = error
        found.append(b"" if value is None or index in errors else body.bare(value))
    return found, errors


def _bare_if_all_valid(values: Sequence[Any], max_bytes: int) -> list[bytes] | None:
    """Values that are all valid, as `body.bare` makes them, in a few passes; None: look at them one by one.

    The values, joined and put in brackets, are an array of as many quotes only if each is one quote. What joins them
    cannot stand in a string, for its line feed; nor in an object, where no brace follows a comma; nor in another array,
    as no value holds a bracket. So it stands between elements of the one array, and a value is one of them or several.
    """
    try:
        size = sum(map(len, values))
    except TypeError:  # a message has no value
        return None
    if size > AT_ONCE_BYTES or (size > max_bytes and max(map(len, values)) > max_bytes):
        return None
    joined = body.BETWEEN.join(values)
    found = None if b"[" in joined else body.split(joined, len(values))
    if found is None:
        return None
    try:
        _check_utf8(joined)
        return found if len(_decode_array(b"[%b]" % joined)) == len(found) else None
    except _NOT_A_QUOTE:
        return None


def _check_utf8(value: bytes) -> None:
    """The decoder does not look into fields it skips."""
    if not value.isascii():
        value.decode()


def encode(quote: Quote) -> bytes:
    """A quote as the message's value."""
    return msgspec.json.encode(quote)
