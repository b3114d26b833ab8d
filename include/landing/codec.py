"""Codecs: how records become the body of an object, and back.

The contract object of a prefix names the suffix of its objects, and the suffix names their codec. A new format is a
module beside `include.landing.body`, an entry in each table below, and a value of CONSUMER_COMPRESSION.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from include.landing import body

Suffix = Literal[".json", ".json.gz"]
"""The end of each key of a prefix."""

RESERVED_FIELDS = ("_topic", "_partition", "_offset", "_timestamp", "_hole")
"""A codec adds these fields to a message, so a message must not have them."""
COORDINATES_BYTES = 48
"""`join` adds at most this many bytes to a message, besides the prefix: digits of offset and timestamp, punctuation."""


class Codec(Protocol):
    """One format. A message is a valid JSON object on one line, from its opening to its closing brace."""

    @property
    def content_type(self) -> str:
        """The `Content-Type` of an object."""

    def prefix(self, topic: str, partition: int) -> bytes:
        """The bytes that all records of a partition share, for `join`."""

    def join(
        self, prefix: bytes, offset: int, timestamps: Sequence[int], messages: Sequence[bytes], hole: int = 0
    ) -> bytes:
        """A part of a body: records at consecutive offsets from `offset` on, with their timestamps (ms).

        The `hole` offsets before the first of them have no record.
        """

    def cut(self, records: bytes, count: int) -> tuple[bytes, bytes]:
        """The first `count` records of a part, and the others; neither half is empty."""

    def message(self, records: bytes, index: int) -> bytes:
        """The message of one record of a part."""

    def encode(self, parts: Iterable[bytes]) -> bytes:
        """The body of parts, or of dead letters (a JSON object each). It depends only on them, not on a clock."""

    def decode(self, body: bytes) -> list[dict[str, Any]]:
        """The rows of a body.

        Raises:
            ValueError: the body is not of this format.
        """


CODECS: dict[Suffix, Codec] = {".json": body.PLAIN, ".json.gz": body.GZIP}
SUFFIXES: dict[str, Suffix] = {"none": ".json", "gzip": ".json.gz"}
"""Value of CONSUMER_COMPRESSION -> suffix."""
