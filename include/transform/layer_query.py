"""Rows, newest quote and new records of a layer; the query goes through dbt, so it works on both targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from include.settings import DBT_PROJECT
from include.state.layer_state import QuarantineCount
from include.transform import dbt_connection
from include.transform.manifest import work_folder


class LayerQueryError(RuntimeError):
    """The query failed; the text is dbt's."""


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
    """Size of a model. `newest_quote_at` is UTC; None when the model has no rows. Only silver has a `quarantine`."""

    rows: int
    newest_quote_at: datetime | None
    quarantine: QuarantineCount | None
    arrivals: Arrivals


def count(model: str, since: str | None = None, counts_from: datetime | None = None) -> LayerCount:
    """Query one model's rows, its newest quote, and the records of the loads after `since`.

    Without `since` (the text of a UTC timestamp) no records are returned. With it, those that reached Kafka after
    `counts_from` (UTC).

    Raises:
        LayerQueryError: dbt failed.
    """
    from dbt.cli.main import dbtRunner  # late: importing dbt takes more than a second

    # Without a log: `show` would print all arrivals, even when quiet. An error is in the response.
    arguments = ["--quiet", "--log-level", "none", "--log-level-file", "none", "--no-write-json"]
    arguments += ["show", "--output", "json", "--inline", _macro(model, since, counts_from)]
    arguments += ["--project-dir", str(DBT_PROJECT), "--target-path", str(work_folder()), *dbt_connection.arguments()]
    response = dbtRunner().invoke(arguments)
    if not response.success or response.result is None:
        raise LayerQueryError(f"counting {model}: {response.exception or response.result}")
    table: Any = response.result.results[0].agate_table  # type: ignore[union-attr]
    row = dict(zip(table.column_names, table.rows[0], strict=True))
    newest, accepted, refused = row["newest_quote_ms"], row["accepted_rows"], row["quarantined_rows"]
    return LayerCount(
        rows=int(row["row_count"]),
        newest_quote_at=None if newest is None else datetime.fromtimestamp(int(newest) / 1000, UTC),
        quarantine=None if accepted is None or refused is None else QuarantineCount(int(accepted), int(refused)),
        arrivals=Arrivals(row["last_load"], row["has_measured_load"] is False, _times(row["arrivals"])),
    )


def _macro(model: str, since: str | None, counts_from: datetime | None) -> str:
    arguments = [f"'{model}'"]
    if since is not None and counts_from is not None:
        arguments += [f"since='{since}'", f"counts_from='{counts_from.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"]
    return f"{{{{ layer_count({', '.join(arguments)}) }}}}"


def _times(text: str | None) -> dict[str, dict[int, int]]:
    """Like `Arrivals.times`, from the text of the macro `arrivals`."""
    lines = (line.split(" ") for line in (text or "").splitlines())
    pairs = {path: (time.split(":") for time in times) for path, *times in lines}
    return {path: {int(second): int(records) for second, records in times} for path, times in pairs.items()}
