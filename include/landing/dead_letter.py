"""Dead-letter rows: messages that are not quotes, and holes in the offsets.

Their objects have the same layout, naming and metadata as data objects, under the dead-letter prefix. Data and dead
letters together have no hole in the offsets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import msgspec

ErrorClass = Literal[
    "empty", "too_large", "not_utf8", "not_json", "missing_field", "wrong_type", "out_of_range", "reserved_field",
    "schema_registry_frame", "rejected_earlier", "gap",
]  # fmt: skip
"""`rejected_earlier`: another version of the consumer landed the range without this message.
`gap`: offsets that `adopt` skipped, or that have no record (a hole) and are directly before a rejected message."""
MESSAGE_CLASSES: tuple[ErrorClass, ...] = tuple(name for name in get_args(ErrorClass) if name != "gap")
"""The classes of rows that hold a message and can be replayed."""


class DeadLetter(msgspec.Struct, frozen=True, rename={
    "topic": "_topic", "partition": "_partition", "offset": "_offset", "timestamp": "_timestamp",
}):  # fmt: skip
    """One row. Its first fields in S3 are `_topic`, `_partition`, `_offset` and `_timestamp` (ms), then as below.

    `last_offset` is `offset` for a message, and the end of the range (inclusive) for a gap. Bytes are base64 in S3.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    last_offset: int
    error_class: str
    """One of `ErrorClass`. A row of a later version may have another; it is read, listed and replayed all the same."""
    error: str
    key: bytes | None
    payload: bytes | None
    headers: list[tuple[str, bytes | None]]
    rejected_at: datetime
    """The time at which the row was made, UTC."""

    def to_line(self) -> bytes:
        """As one line of a body."""
        return msgspec.json.encode(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> DeadLetter:
        """Read a decoded row.

        Raises:
            ValueError: the row is not a dead letter.
        """
        try:
            letter: DeadLetter = msgspec.convert(row, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"not a dead letter: {error}") from error
        return letter


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
    """The row of a rejected message."""
    items = headers.items() if isinstance(headers, Mapping) else headers or ()
    pairs = [(name, text.encode() if isinstance(text, str) else text) for name, text in items]
    return DeadLetter(
        topic, partition, offset, timestamp, offset, error_class, error, key, value, pairs, datetime.now(UTC)
    )  # fmt: skip


def gap(topic: str, partition: int, first: int, last: int, timestamp: int, reason: str) -> DeadLetter:
    """The row of offsets `first` to `last`, which have no message; `timestamp` is the next record's."""
    return DeadLetter(
        topic, partition, first, timestamp, last, "gap", reason, None, None, [], datetime.now(UTC)
    )  # fmt: skip
