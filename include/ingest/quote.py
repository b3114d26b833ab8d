"""The message: the rules of a valid quote, and the class of each error.

    {"id": 1, "symbol": "BTC", "name": "Bitcoin", "price": 64123.12, "last_updated": "2026-11-23T20:15:07Z"}

More fields are allowed and kept. No field of a quote may be there twice: readers of JSON disagree about which one
counts. docs/contract/ has the same rules as JSON Schema and as data contract, generated from this module
(`message_contract.py`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Annotated, Any, TypeGuard

import msgspec
from msgspec import Meta

from include.landing.codec import RESERVED_FIELDS
from include.landing.dead_letter import ErrorClass

MAX_SYMBOL = 32
MAX_NAME = 200
MAX_ID = 2**63 - 1
"""The largest BIGINT of the warehouse."""
AT_ONCE_BYTES = 2**20
"""`check` validates values one by one if they have more bytes together, so that it makes no copy of them."""

TIME_PATTERN = (
    "^([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]"
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])$"
)
"""The texts of `last_updated` that the decoder takes, if they are also a day of the calendar. JSON Schema and silver's
SQL are generated from it; tests compare decoder, pattern and SQL. It uses only what all their engines read alike."""

_Never = Annotated[int, Meta(gt=1, lt=0)]
"""A type without values: a message that has the field does not decode."""


class Quote(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One quote of one coin. Its fields cannot make cycles, so the garbage collector need not track it."""

    id: Annotated[
        int,
        Meta(
            ge=1, le=MAX_ID, description="CoinMarketCap's id of the coin: BTC 1, ETH 1027, XRP 52.", examples=[1, 1027]
        ),
    ]
    symbol: Annotated[
        str, Meta(min_length=1, max_length=MAX_SYMBOL, description="The coin's ticker.", examples=["BTC"])
    ]
    name: Annotated[
        str, Meta(min_length=1, max_length=MAX_NAME, description="The coin's full name.", examples=["Bitcoin"])
    ]
    price: Annotated[
        float,
        Meta(
            gt=0, description="Price of one coin in US dollars.", examples=[64123.12],
            extra_json_schema={"maximum": sys.float_info.max},
        ),
    ]  # fmt: skip
    last_updated: Annotated[
        datetime,
        Meta(
            tz=True, description="Time of the quote: ISO 8601 (RFC 3339) with a zone.",
            examples=["2026-11-23T20:15:07Z"], extra_json_schema={"pattern": TIME_PATTERN},
        ),
    ]  # fmt: skip


class _Received(Quote, frozen=True, kw_only=True, gc=False):
    """A quote as it comes from the topic: it must not have the fields that landing adds."""

    topic_: _Never = msgspec.field(name="_topic", default=0)
    partition_: _Never = msgspec.field(name="_partition", default=0)
    offset_: _Never = msgspec.field(name="_offset", default=0)
    timestamp_: _Never = msgspec.field(name="_timestamp", default=0)
    hole_: _Never = msgspec.field(name="_hole", default=0)


decode = msgspec.json.Decoder(_Received).decode
"""Bytes to quote; raises one of `_DECODING_ERRORS`."""
_decode_array = msgspec.json.Decoder(list[_Received]).decode
_DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class InvalidQuoteError(ValueError):
    """The message is not a quote; `error_class` is one of the dead letters' classes."""

    def __init__(self, error_class: ErrorClass, text: str) -> None:
        super().__init__(text)
        self.error_class: ErrorClass = error_class


_FIELD = re.compile(r"`\$\.([^`\[.]+)")
_FRAME = b"\0\0"
"""A schema registry's clients begin a value with the byte 0 and a schema id of four bytes. The id's first byte is 0
below 16.7 million; registries count from 1. In JSON text as UTF-8 or UTF-16 one of the first two bytes is not 0."""
_FRAME_BYTES = 5
_UNREADABLE_TIME = ("Invalid RFC3339", "timezone")


def explain(error: Exception) -> InvalidQuoteError:
    """The error that `validate` raises for a decoding error: its class and text."""
    text = str(error)
    field = _FIELD.search(text)
    if field and field[1] in RESERVED_FIELDS:
        return InvalidQuoteError("reserved_field", f"field {field[1]} is reserved for the message's place in Kafka")
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
        InvalidQuoteError: the value is not a quote; names class and reason.
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
        if _may_repeat_a_field(value, 1):
            _require_fields_once(value)
    except _DECODING_ERRORS as error:
        raise _framed(value) or explain(error) from error
    return quote


def _framed(value: bytes) -> InvalidQuoteError | None:
    """The error for a value in a schema registry's frame, whatever follows the frame; None for any other value."""
    if not value.startswith(_FRAME) or len(value) <= _FRAME_BYTES:
        return None
    schema_id = int.from_bytes(value[1:_FRAME_BYTES])
    return InvalidQuoteError(
        "schema_registry_frame",
        f"the value begins with a schema registry's frame (byte 0, schema id {schema_id}); "
        "let the producer send plain JSON: docs/message-contract.md",
    )


def check(values: Sequence[bytes | None], max_bytes: int) -> tuple[Sequence[bytes], dict[int, InvalidQuoteError]]:
    """`validate` for many values. Returns each as `one_line`, empty if it is invalid, and the errors by index."""
    if _are_all_valid(values, max_bytes):
        return values, {}
    messages, errors = [], {}
    for index, value in enumerate(values):
        try:
            validate(value, max_bytes)
        except InvalidQuoteError as error:
            errors[index] = error
        messages.append(b"" if value is None or index in errors else one_line(value))
    return messages, errors


_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def one_line(value: bytes) -> bytes:
    """A valid JSON object from brace to brace. Line breaks can only be between its tokens; they become spaces."""
    return value.strip().translate(_LINE_BREAKS)


def _are_all_valid(values: Sequence[Any], max_bytes: int) -> TypeGuard[Sequence[bytes]]:
    r"""Whether all are valid and on one line each, as producers write them. If not, `check` validates one by one.

    Decodes `[v1,\nv2,…]` once instead of each value. This is safe because each value begins with a brace, and
    `,\n{` cannot occur inside a value: a string holds no line feed, an object has no brace after a comma, and no
    value holds a bracket, so no array. Each separator is therefore between two elements of the one array, and each
    value is one element or several. If there are N elements of N values, each value is exactly one element.
    """
    try:
        size = sum(map(len, values))
    except TypeError:  # a message has no value
        return False
    if size > AT_ONCE_BYTES or (size > max_bytes and max(map(len, values)) > max_bytes) or not _are_lines(values):
        return False
    joined = b",\n".join(values)
    try:
        _check_utf8(joined)
        return len(_decode_array(b"[%b]" % joined)) == len(values) and not _may_repeat_a_field(joined, len(values))
    except _DECODING_ERRORS:
        return False


_last_byte = itemgetter(-1)


def _are_lines(values: Sequence[bytes]) -> bool:
    """Whether each value is one line from brace to brace, without brackets. An empty value is not."""
    text = b"".join(values)
    return (
        not any(byte in text for byte in (b"\n", b"\r", b"["))
        and min(values, default=b"") >= b"{"  # no JSON value begins with a larger byte
        and set(map(_last_byte, values)) == {ord("}")}
    )


def _check_utf8(value: bytes) -> None:
    """Raise UnicodeDecodeError for invalid UTF-8; the decoder does not notice it in a field that it skips."""
    if not value.isascii():
        value.decode()


_NAMES = tuple(f'"{name}"'.encode() for name in Quote.__struct_fields__)


def _may_repeat_a_field(text: bytes, count: int) -> bool:
    r"""Whether one of the `count` decoded quotes (commas between them) may have a field twice. False is certain.

    Each quote has each name at least once. With the fewest commas none has a sixth field, whatever its name. Otherwise
    each name must be there once a quote; an escaped letter of a name begins with `\\u00`.
    """
    if text.count(b",") == count * len(_NAMES) - 1:
        return False
    return b"\\u00" in text or any(text.count(name) != count for name in _NAMES)


def _require_fields_once(value: bytes) -> None:
    """Read a decoded quote's names exactly, which the decoder does not show.

    Raises:
        InvalidQuoteError: a field of a quote is there twice.
    """
    fields = json.JSONDecoder(object_pairs_hook=list, parse_int=str, strict=False).decode(value.decode())
    names = [name for name, _ in fields]
    for name in Quote.__struct_fields__:
        if names.count(name) > 1:
            raise InvalidQuoteError("not_json", f"field {name} is there {names.count(name)} times")


def encode(quote: Quote) -> bytes:
    """A quote as the message's value."""
    return msgspec.json.encode(quote)
