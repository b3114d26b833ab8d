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
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from include.landing.layout import Suffix

RESERVED_FIELDS = ("_topic", "_partition", "_offset", "_timestamp")
"""Names a message must not bring itself."""

BETWEEN = b",\n"
"""Stands between two records of a body. No string of valid JSON holds a line feed, so it stands nowhere else."""
_COORDINATES = re.compile(rb'^\{"_topic":"[^"]*","_partition":\d+,"_offset":\d+,"_timestamp":-?\d+,')
_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def line_start(topic: str, partition: int) -> bytes:
    """What every line of a partition begins with; pass it to `join`."""
    return b'{"_topic":%b,"_partition":%d,"_offset":' % (msgspec.json.encode(topic), partition)


def bare(value: bytes) -> bytes:
    """What stands between the braces of a valid JSON object, on one line.

    Raw line breaks can only stand between tokens of valid JSON; they become spaces.
    """
    return value.strip()[1:-1].translate(_LINE_BREAKS)  # white space may stand around the braces


def split(joined: bytes, count: int) -> list[bytes] | None:
    """What `bare` makes of each of `count` values, one at least, that `BETWEEN` joins.

    None unless each is one line that begins and ends with its brace, as producers write
    them: then there are as many pieces as values, and the line feeds are those between them.
    """
    if joined[:1] != b"{" or joined[-1:] != b"}" or b"\r" in joined:
        return None
    found = joined[1:-1].split(b"}" + BETWEEN + b"{")
    return found if len(found) == count and b"\n" not in b"".join(found) else None


def join(start: bytes, offset: int, timestamps: Sequence[int], inside: Sequence[bytes]) -> bytes:
    """The lines of records at consecutive offsets from `offset` on, one after another.

    `start` is what `line_start` made, `inside` what `bare` made of each record's value, which has a field at least.
    """
    times = {time: b',"_timestamp":%d,' % time for time in set(timestamps)}
    parts = [b""] * (4 * len(inside))
    parts[0::4], parts[1::4] = _offsets(b"}" + BETWEEN + start, offset, len(inside))
    parts[0] = parts[0].removeprefix(b"}" + BETWEEN)
    parts[2::4] = map(times.__getitem__, timestamps)
    parts[3::4] = inside
    return b"".join(parts) + b"}"


_LAST_DIGITS = [b"%03d" % number for number in range(1000)]


def _offsets(start: bytes, offset: int, total: int) -> tuple[list[bytes], list[bytes]]:
    """`total` offsets from `offset` on behind `start`, in two columns: all but the last digits, the last digits."""
    heads: list[bytes] = []
    tails: list[bytes] = []
    while len(heads) < total:
        thousands, first = divmod(offset + len(heads), 1000)
        end = min(1000, first + total - len(heads))
        if thousands:
            tails += _LAST_DIGITS[first:end]
            heads += [start + b"%d" % thousands] * (end - first)
        else:
            tails += [b"%d" % number for number in range(first, end)]
            heads += [start] * (end - first)
    return heads, tails


def cut(lines: bytes, first: int) -> tuple[bytes, bytes]:
    """The `first` lines of what `join` made, and the others; both have some."""
    found = lines.split(BETWEEN)  # a line has no line feed of its own
    return BETWEEN.join(found[:first]), BETWEEN.join(found[first:])


def line(lines: bytes, index: int) -> bytes:
    """One of the lines that `join` made."""
    return lines.split(BETWEEN)[index]


def unsplice(line: bytes) -> bytes:
    """The producer's object from a line (raw line breaks stay spaces)."""
    return _COORDINATES.sub(b"{", line, count=1)


def encode(lines: Iterable[bytes], suffix: Suffix) -> bytes:
    """The body of an object from its lines, one or several an item; `[]` when there are none.

    The bytes are a function of lines and suffix alone (no time in the gzip header).
    """
    parts = [part for line in lines for part in (BETWEEN, line)]
    body = b"".join((b"[\n", *parts[1:], b"\n]\n")) if parts else b"[]\n"
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
