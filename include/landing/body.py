"""Bodies: the producer's bytes with their Kafka coordinates spliced in front, one record a line.

A body is a JSON array and line-readable at once:

    [
    {"_topic":"selected_crypto_data","_partition":0,"_offset":4200,"_timestamp":1764028800123,"id":1,...},
    {"_topic":"selected_crypto_data","_partition":0,"_offset":4201,"_timestamp":1764028801127,"id":52,...}
    ]

`_timestamp` is Kafka's, in milliseconds since 1970 (UTC). Nothing is decoded and encoded
again: numbers keep their digits, fields their order.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec

from include.landing.layout import Suffix

RESERVED_FIELDS = ("_topic", "_partition", "_offset", "_timestamp")
"""Names a message must not bring itself."""

_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_COORDINATES = re.compile(rb'^\{"_topic":"[^"]*","_partition":\d+,"_offset":\d+,"_timestamp":-?\d+,')


def line_start(topic: str, partition: int) -> str:
    """What every line of a partition begins with; pass it to `splice`."""
    return f'{{"_topic":{msgspec.json.encode(topic).decode()},"_partition":{partition},"_offset":'


def splice(start: str, offset: int, timestamp_ms: int, value: bytes) -> bytes:
    """One line: `value`, a valid JSON object with at least one field, behind its coordinates.

    Raw line breaks can only stand between tokens of valid JSON; they become spaces.
    """
    if value[0] != 123 or value[-1] != 125:  # white space may stand around the braces
        value = value.strip()
    if 10 in value or 13 in value:
        value = value.translate(_LINE_BREAKS)
    # Not bytes formatting: that takes twice as long.
    return f'{start}{offset},"_timestamp":{timestamp_ms},'.encode() + value[1:]


def unsplice(line: bytes) -> bytes:
    """The producer's object from a line (raw line breaks stay spaces)."""
    return _COORDINATES.sub(b"{", line, count=1)


def encode(lines: Iterable[bytes], suffix: Suffix) -> bytes:
    """The body of an object from its lines; `[]` when there are none.

    The bytes are a function of lines and suffix alone (no time in the gzip header).
    """
    joined = b",\n".join(lines)
    body = b"[\n%b\n]\n" % joined if joined else b"[]\n"
    if suffix == ".json":
        return body
    compressor = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


def decode(body: bytes, suffix: Suffix) -> list[dict[str, Any]]:
    """The rows of an object.

    Raises:
        ValueError: the body is no JSON array of objects, or no gzip.
    """
    try:
        plain = body if suffix == ".json" else zlib.decompress(body, 16 + zlib.MAX_WBITS)
        rows: list[dict[str, Any]] = msgspec.json.decode(plain, type=list[dict[str, Any]])
    except (msgspec.MsgspecError, zlib.error) as error:
        raise ValueError(f"not a landed object: {error}") from error
    return rows
