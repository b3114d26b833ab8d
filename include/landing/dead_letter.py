"""Dead-letter rows: messages that are not quotes, and holes in the offsets.

A row's object has the same layout, naming and metadata as a data object, under the
dead-letter prefix. Data and dead letters together have no hole in the offsets.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import msgspec

ErrorClass = Literal[
    "empty",
    "too_large",
    "not_utf8",
    "not_json",
    "missing_field",
    "wrong_type",
    "out_of_range",
    "reserved_field",
    "rejected_earlier",
    "gap",
]
"""`rejected_earlier`: another version of the consumer landed the range without this message.
`gap`: offsets that hold no message any more (deleted by retention) or never did (transaction markers)."""
MESSAGE_CLASSES: tuple[ErrorClass, ...] = tuple(name for name in get_args(ErrorClass) if name != "gap")
"""Those of rows that hold a message, so can be replayed."""


class DeadLetter(msgspec.Struct, frozen=True, rename={
    "topic": "_topic", "partition": "_partition", "offset": "_offset", "timestamp": "_timestamp",
}):  # fmt: skip
    """One row. Field names on the wire: `_topic`, `_partition`, `_offset`, `_timestamp` (ms), then as below.

    `last_offset` is `offset` for a message, the end of the range (inclusive) for a gap.
    `key` and `payload` are base64, null when absent; `headers` are pairs of name and base64.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    last_offset: int
    error_class: ErrorClass
    error: str
    key: str | None
    payload: str | None
    headers: list[tuple[str, str | None]]
    rejected_at: datetime
    """When a consumer met it, UTC."""

    def payload_bytes(self) -> bytes | None:
        """The message's value."""
        return None if self.payload is None else base64.b64decode(self.payload)

    def key_bytes(self) -> bytes | None:
        """The message's key."""
        return None if self.key is None else base64.b64decode(self.key)

    def header_pairs(self) -> list[tuple[str, bytes | None]]:
        """The message's headers."""
        return [(name, None if value is None else base64.b64decode(value)) for name, value in self.headers]

    def to_line(self) -> bytes:
        """As one line of a body."""
        return msgspec.json.encode(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> DeadLetter:
        """Read a decoded row.

        Raises:
            ValueError: it is no dead letter.
        """
        try:
            letter: DeadLetter = msgspec.convert(row, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"not a dead letter: {error}") from error
        return letter


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def rejected_message(
    *,
    topic: str,
    partition: int,
    offset: int,
    timestamp: int,
    error_class: ErrorClass,
    error: str,
    key: bytes | None,
    value: bytes | None,
    headers: Mapping[str, bytes | str | None] | Sequence[tuple[str, bytes | str | None]] | None,
) -> DeadLetter:
    """The row of a message that was refused."""
    given = headers.items() if isinstance(headers, Mapping) else headers or ()
    pairs = [(name, _base64(found.encode() if isinstance(found, str) else found)) for name, found in given]
    return DeadLetter(
        topic, partition, offset, timestamp, offset, error_class, error,
        _base64(key), _base64(value), pairs, datetime.now(UTC),
    )  # fmt: skip


def gap(topic: str, partition: int, first: int, last: int, timestamp: int, reason: str) -> DeadLetter:
    """The row of offsets `first` to `last`, which hold no message; `timestamp` is the next record's."""
    return DeadLetter(
        topic, partition, first, timestamp, last, "gap", reason, None, None, [], datetime.now(UTC)
    )  # fmt: skip
