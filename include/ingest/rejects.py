"""The dead-letter rows of rejected messages, and of holes in the offsets."""

from __future__ import annotations

from include.ingest.partition_writer import Batch, Gap, rows_to_land
from include.ingest.quote import InvalidQuoteError
from include.ingest.runs import ConsecutiveMessages, readable
from include.landing.codec import Codec
from include.landing.dead_letter import DeadLetter, gap, rejected_message

GAP_TEXT = "no record at these offsets: transaction markers, or records of an aborted transaction"
EARLIER_TEXT = "another version of the consumer landed this range without the message; this one accepts it"


def message_row(topic: str, messages: ConsecutiveMessages, index: int, error: InvalidQuoteError) -> DeadLetter:
    """The row of a message that is not a quote. Parts that the client cannot return are named in `error`."""
    message, unreadable = messages.messages[index], list[str]()
    key, headers = readable(message.key, "key", unreadable), readable(message.headers, "headers", unreadable)
    return rejected_message(
        topic=topic, partition=messages.partition, offset=messages.offset + index, timestamp=messages.timestamps[index],
        error_class=error.error_class, error="; ".join([str(error), *unreadable]),
        key=key.encode() if isinstance(key, str) else key, value=messages.values[index], headers=headers,
    )  # fmt: skip


def batch_rows(topic: str, partition: int, batch: Batch, codec: Codec) -> list[DeadLetter]:
    """The dead-letter rows of a batch: exactly the rejects inside its final range."""
    rows: list[DeadLetter] = []
    for offset, row in rows_to_land(batch):
        part = batch.part_of(offset)
        index = offset - part.offset
        if isinstance(row, Gap):
            rows.append(gap(topic, partition, row.first, row.last, part.timestamps[index], GAP_TEXT))
        elif row is None:
            value = None if part.content is None else codec.message(part.content, index)
            message = rejected_message(
                topic=topic, partition=partition, offset=offset, timestamp=part.timestamps[index],
                error_class="rejected_earlier", error=EARLIER_TEXT, key=None, value=value, headers=None,
            )  # fmt: skip
            rows.append(message)
        else:
            rows.append(row)
    return rows


def classes_of(batch: Batch) -> list[str]:
    """The error class of each rejected record of a batch. A hole is no record."""
    rows = (row for _, row in rows_to_land(batch) if not isinstance(row, Gap))
    return [row.error_class if row else "rejected_earlier" for row in rows]
