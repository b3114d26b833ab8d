"""Rows and newest quote of a layer's model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from include.state.layer_state import QuarantineCount
from include.transform import inline_query


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Size of a model. `newest_quote_at` is UTC; None when the model has no rows. Only silver has a `quarantine`."""

    rows: int
    newest_quote_at: datetime | None
    quarantine: QuarantineCount | None


class _Row(msgspec.Struct):
    """What the macro `layer_count` selects."""

    row_count: int
    newest_quote_ms: int | None
    accepted_rows: int | None
    quarantined_rows: int | None


def count(model: str) -> LayerCount:
    """Query one model's rows and newest quote.

    Raises:
        InlineQueryError: dbt failed.
    """
    (row,) = inline_query.rows(f"layer_count('{model}')", _Row)
    newest, accepted, refused = row.newest_quote_ms, row.accepted_rows, row.quarantined_rows
    return LayerCount(
        rows=row.row_count,
        newest_quote_at=None if newest is None else datetime.fromtimestamp(newest / 1000, UTC),
        quarantine=None if accepted is None or refused is None else QuarantineCount(accepted, refused),
    )
