"""Rows and newest quote of a layer's model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from include.state.layer_state import QuarantineCount
from include.transform import inline_query


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Size of a model. `newest_quote_at` is UTC; None when the model has no rows. Only silver has a `quarantine`.

    `record_fields` is the look of the macro of this name; only bronze has one.
    """

    rows: int
    newest_quote_at: datetime | None
    quarantine: QuarantineCount | None
    record_fields: str | None


class _Row(msgspec.Struct):
    """What the macro `layer_count` selects."""

    row_count: int
    newest_quote_ms: int | None
    accepted_rows: int | None
    quarantined_rows: int | None
    record_fields: str | None


def count(model: str, looked_until: datetime | None = None) -> LayerCount:
    """Query one model's rows and newest quote, of bronze also the fields of the records loaded after `looked_until`.

    Raises:
        InlineQueryError: dbt failed.
    """
    since = f", since='{looked_until:%Y-%m-%d %H:%M:%S.%f}'" if looked_until else ""
    (row,) = inline_query.rows(f"layer_count('{model}'{since})", _Row)
    newest, accepted, refused = row.newest_quote_ms, row.accepted_rows, row.quarantined_rows
    return LayerCount(
        rows=row.row_count,
        newest_quote_at=None if newest is None else datetime.fromtimestamp(newest / 1000, UTC),
        quarantine=None if accepted is None or refused is None else QuarantineCount(accepted, refused),
        record_fields=row.record_fields,
    )
