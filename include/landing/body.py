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
from itertools import count, repeat
from typing import Any

import msgspec

from include.landing.layout import Suffix

RESERVED_FIELDS = ("_topic", "_partition", "_offset", "_timestamp")
"""Names a message must not bring itself."""

_BETWEEN = b",\n"
_COORDINATES = re.compile(rb'^\{"_topic":"[^"]*","_partition":\d+,"_offset":\d+,"_timestamp":-?\d+,')
_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def line_start(topic: str, partition: int) -> bytes:
    """What every line of a partition begins with; pass it to `splice` or `join`."""
    return b'{"_topic":%b,"_partition":%d,"_offset":' % (msgspec.json.encode(topic), partition)


def splice(start: bytes, offset: int, timestamp_ms: int, value: bytes) -> bytes:
    """One line: `value`, a valid JSON object with at least one field, behind its coordinates.

    Raw line breaks can only stand between tokens of valid JSON; they become spaces.
    """
    value = value.strip()  # white space may stand around the braces
    return b'%b%d,"_timestamp":%d,%b' % (start, offset, timestamp_ms, value[1:].translate(_LINE_BREAKS))


def join(start: bytes, offset: int, timestamps: Sequence[int], values: Sequence[bytes]) -> bytes:
    """The lines of records at consecutive offsets from `offset` on, as `splice` makes each, one after another.

    Values that are bare objects on one line, as producers write them, are put together in a
    few passes over all of them: a fifth of the work of `splice` for each.
    """
    found = _inside_braces(values)
    if found is None:
        return _BETWEEN.join(map(splice, repeat(start), count(offset), timestamps, values))
    times = {time: b',"_timestamp":%d,' % time for time in set(timestamps)}
    parts = [b""] * (4 * len(found))
    parts[0::4], parts[1::4] = _offsets(b"}" + _BETWEEN + start, offset, len(found))
    parts[0] = parts[0].removeprefix(b"}" + _BETWEEN)
    parts[2::4] = [times[time] for time in timestamps]
    parts[3::4] = found
    return b"".join(parts) + b"}"


def _inside_braces(values: Sequence[bytes]) -> list[bytes] | None:
    """Values without their braces, or None unless each is a bare object on one line.

    Valid JSON holds no zero byte, so values joined by one come apart at `}`, zero, `{` into
    as many pieces only if each begins and ends with its brace.
    """
    joined = b"\0".join(values)
    if joined[:1] != b"{" or joined[-1:] != b"}" or b"\n" in joined or b"\r" in joined:
        return None
    found = joined[1:-1].split(b"}\0{")
    return found if len(found) == len(values) else None


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
    found = lines.split(_BETWEEN)  # a line has no line feed of its own
    return _BETWEEN.join(found[:first]), _BETWEEN.join(found[first:])


def line(lines: bytes, index: int) -> bytes:
    """One of the lines that `join` made."""
    return lines.split(_BETWEEN)[index]


def unsplice(line: bytes) -> bytes:
    """The producer's object from a line (raw line breaks stay spaces)."""
    return _COORDINATES.sub(b"{", line, count=1)


def encode(lines: Iterable[bytes], suffix: Suffix) -> bytes:
    """The body of an object from its lines, one or several an item; `[]` when there are none.

    The bytes are a function of lines and suffix alone (no time in the gzip header).
    """
    joined = _BETWEEN.join(lines)
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
