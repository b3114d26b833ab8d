"""Rows and newest quote of a layer's model; the query goes through dbt, so it works on both targets."""

from __future__ import annotations

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
class LayerCount:
    """Size of a model. `newest_quote_at` is UTC; None when the model has no rows. Only silver has a `quarantine`."""

    rows: int
    newest_quote_at: datetime | None
    quarantine: QuarantineCount | None


def count(model: str) -> LayerCount:
    """Query one model's rows and newest quote.

    Raises:
        LayerQueryError: dbt failed.
    """
    row = rows(f"layer_count('{model}')", "counting " + model)[0]
    newest, accepted, refused = row["newest_quote_ms"], row["accepted_rows"], row["quarantined_rows"]
    return LayerCount(
        rows=int(row["row_count"]),
        newest_quote_at=None if newest is None else datetime.fromtimestamp(int(newest) / 1000, UTC),
        quarantine=None if accepted is None or refused is None else QuarantineCount(int(accepted), int(refused)),
    )


def rows(macro_call: str, purpose: str) -> list[dict[str, Any]]:
    """The rows of the query that a call of a macro makes, like `layer_count('crypto_raw')`; `purpose` is for the error.

    Raises:
        LayerQueryError: dbt failed.
    """
    from dbt.cli.main import dbtRunner  # late: importing dbt takes more than a second

    arguments = ["--quiet", "--log-format", "text", "--log-level-file", "none", "--no-write-json"]
    arguments += ["show", "--output", "json", "--limit", "-1", "--inline", "{{ " + macro_call + " }}"]
    arguments += ["--project-dir", str(DBT_PROJECT), "--target-path", str(work_folder()), *dbt_connection.arguments()]
    response = dbtRunner().invoke(arguments)
    if not response.success or response.result is None:
        raise LayerQueryError(f"{purpose}: {response.exception or response.result}")
    table: Any = response.result.results[0].agate_table  # type: ignore[union-attr]
    return [dict(zip(table.column_names, row, strict=True)) for row in table.rows]
