"""Rows, newest quote and new records of a layer; the query goes through dbt, so it works on both targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from include.state.layer_state import QuarantineCount, RefusedRows
from include.transform import inline_query


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When the records that a layer got since the last measured load arrived in Kafka.

    `times` maps an object's path under the data prefix to seconds since 1970 and the number of records of each; in
    silver and gold there is only the path `-`. `last_load` is the text of a UTC timestamp, None for an empty layer.
    `rebuilt`: the layer has no load any more that was measured before.
    """

    last_load: str | None
    rebuilt: bool
    times: Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Size of a model. `newest_quote_at` is UTC; None when the model has no rows. Only silver has a `quarantine`.

    `record_fields` is the look of the macro of this name; only bronze has one.
    """

    rows: int
    newest_quote_at: datetime | None
    quarantine: QuarantineCount | None
    record_fields: str | None
    arrivals: Arrivals


class _Row(msgspec.Struct):
    """What the macro `layer_count` selects."""

    row_count: int
    newest_quote_ms: int | None
    accepted_rows: int | None
    quarantined_rows: int | None
    quarantined_by_rule: str | None
    record_fields: str | None
    last_load: str | None
    has_measured_load: bool | None
    arrivals: str | None


def count(
    model: str,
    since: str | None = None,
    counts_from: datetime | None = None,
    looked_until: datetime | None = None,
) -> LayerCount:
    """Query one model's rows, its newest quote, and the records of the loads after `since`.

    Without `since` (the text of a UTC timestamp) no records are returned. With it, those that reached Kafka after
    `counts_from` (UTC). In bronze the fields of the records loaded after `looked_until` (UTC) are listed too.

    Raises:
        InlineQueryError: dbt failed.
    """
    (row,) = inline_query.rows(_macro(model, since, counts_from, looked_until), _Row)
    newest = row.newest_quote_ms
    return LayerCount(
        rows=row.row_count,
        newest_quote_at=None if newest is None else datetime.fromtimestamp(newest / 1000, UTC),
        quarantine=_quarantine(row),
        record_fields=row.record_fields,
        arrivals=Arrivals(row.last_load, row.has_measured_load is False, _times(row.arrivals)),
    )


def _quarantine(row: _Row) -> QuarantineCount | None:
    if row.accepted_rows is None or row.quarantined_rows is None:
        return None
    lines = sorted((line.split(" ") for line in (row.quarantined_by_rule or "").splitlines()), reverse=True)
    by_rule = tuple(RefusedRows(day, rule, int(rows)) for day, rule, rows in lines)
    return QuarantineCount(row.accepted_rows, row.quarantined_rows, by_rule)


def _macro(model: str, since: str | None, counts_from: datetime | None, looked_until: datetime | None) -> str:
    arguments = [f"'{model}'"]
    if since is not None and counts_from is not None:
        arguments += [f"since='{since}'", f"counts_from='{_utc_text(counts_from)}'"]
    if looked_until is not None:
        arguments.append(f"looked_until='{_utc_text(looked_until)}'")
    return f"layer_count({', '.join(arguments)})"


def _utc_text(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def _times(text: str | None) -> dict[str, dict[int, int]]:
    """Like `Arrivals.times`, from the text of the macro `arrivals`."""
    lines = (line.split(" ") for line in (text or "").splitlines())
    pairs = {path: (time.split(":") for time in times) for path, *times in lines}
    return {path: {int(second): int(records) for second, records in times} for path, times in pairs.items()}
