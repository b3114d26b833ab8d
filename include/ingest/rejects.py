"""The dead-letter rows of a batch's rejects."""

from __future__ import annotations

from include.ingest.partition_writer import Gap, Put, rows_to_land
from include.landing import body
from include.landing.dead_letter import DeadLetter, gap, rejected_message

GAP_TEXT = "no record at these offsets: transaction markers, or records deleted before they were read"


def batch_rows(topic: str, put: Put) -> list[DeadLetter]:
    """The dead-letter rows of a batch: exactly the rejects inside its final range."""
    batch = put.batch
    rows: list[DeadLetter] = []
    for offset, row in rows_to_land(batch):
        part = batch.part_of(offset)
        index = offset - part.offset
        if isinstance(row, Gap):
            rows.append(gap(topic, put.partition, row.first, row.last, part.timestamps[index], GAP_TEXT))
        elif row is None:
            rows.append(
                rejected_message(
                    topic=topic,
                    partition=put.partition,
                    offset=offset,
                    timestamp=part.timestamps[index],
                    error_class="rejected_earlier",
                    error="another version of the consumer landed this range without the message; this one accepts it",
                    key=None,
                    value=None if part.lines is None else body.unsplice(body.line(part.lines, index)),
                    headers=None,
                )
            )
        else:
            rows.append(row)
    return rows
