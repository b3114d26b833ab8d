"""The JSON body: the producer's bytes with their place in Kafka in front, one record a line.

A body is a JSON array and can be read line by line:

    [
    {"_topic":"selected_crypto_data","_partition":0,"_offset":4200,"_timestamp":1764028800123,"id":1,...},
    {"_topic":"selected_crypto_data","_partition":0,"_offset":4201,"_timestamp":1764028801127,"id":52,...}
    ]

`_timestamp` is Kafka's, in milliseconds since 1970 (UTC). `_hole` follows it if the offsets before the record have no
record, and says how many. No message is decoded and encoded again: numbers keep
their digits, fields their order.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec

BETWEEN = b",\n"
"""The bytes between two records. A string of valid JSON holds no line feed, so a record never contains them."""

_COORDINATES = re.compile(rb'^\{"_topic":"[^"]*","_partition":\d+,"_offset":\d+,"_timestamp":-?\d+,(?:"_hole":\d+,)?')
_LAST_DIGITS = [b"%03d" % number for number in range(1000)]
_after_brace = itemgetter(slice(1, None))


@dataclass(frozen=True, slots=True)
class JsonArray:
    """A codec, see `include.landing.codec`: a JSON array, perhaps compressed by gzip."""

    content_type: str
    compressed: bool = False

    @staticmethod
    def prefix(topic: str, partition: int) -> bytes:
        """The beginning that all records of a partition share."""
        return b'{"_topic":%b,"_partition":%d,"_offset":' % (msgspec.json.encode(topic), partition)

    @staticmethod
    def join(prefix: bytes, offset: int, timestamps: Sequence[int], messages: Sequence[bytes], hole: int = 0) -> bytes:
        """The lines of records at consecutive offsets, the first at `offset`, with a hole of `hole` offsets before."""
        times = {time: b',"_timestamp":%d,' % time for time in set(timestamps)}
        parts = [b""] * (4 * len(messages))
        parts[0::4], parts[1::4] = _offsets(BETWEEN + prefix, offset, len(messages))
        parts[0] = parts[0].removeprefix(BETWEEN)
        parts[2::4] = map(times.__getitem__, timestamps)
        if hole:
            parts[2] += b'"_hole":%d,' % hole
        parts[3::4] = map(_after_brace, messages)
        return b"".join(parts)

    @staticmethod
    def cut(records: bytes, count: int) -> tuple[bytes, bytes]:
        """The first `count` of the records that `join` made, and the others; neither half is empty."""
        lines = records.split(BETWEEN)
        return BETWEEN.join(lines[:count]), BETWEEN.join(lines[count:])

    @staticmethod
    def message(records: bytes, index: int) -> bytes:
        """The producer's message in one of the records that `join` made."""
        return _COORDINATES.sub(b"{", records.split(BETWEEN)[index], count=1)

    def encode(self, parts: Iterable[bytes]) -> bytes:
        """The body of the parts that `join` made, or of single JSON objects. Without parts it is `[]`."""
        pieces = [piece for part in parts for piece in (BETWEEN, part)]
        body = b"".join((b"[\n", *pieces[1:], b"\n]\n")) if pieces else b"[]\n"
        if not self.compressed:
            return body
        compressor = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        return compressor.compress(body) + compressor.flush()

    def decode(self, body: bytes) -> list[dict[str, Any]]:
        """The rows of a body.

        Raises:
            ValueError: the body is not a JSON array of objects, or not compressed by gzip.
        """
        try:
            plain = zlib.decompress(body, 16 + zlib.MAX_WBITS) if self.compressed else body
            rows: list[dict[str, Any]] = msgspec.json.decode(plain, type=list[dict[str, Any]])
        except (msgspec.MsgspecError, zlib.error) as error:
            raise ValueError(f"not a landed object: {error}") from error
        return rows


PLAIN = JsonArray("application/json")
GZIP = JsonArray("application/gzip", compressed=True)


def _offsets(prefix: bytes, offset: int, total: int) -> tuple[list[bytes], list[bytes]]:
    """`total` offsets after `prefix`, in two columns: all but the last digits, and the last digits."""
    heads: list[bytes] = []
    tails: list[bytes] = []
    while len(heads) < total:
        thousands, first = divmod(offset + len(heads), 1000)
        end = min(1000, first + total - len(heads))
        if thousands:
            tails += _LAST_DIGITS[first:end]
            heads += [prefix + b"%d" % thousands] * (end - first)
        else:
            tails += [b"%d" % number for number in range(first, end)]
            heads += [prefix] * (end - first)
    return heads, tails
