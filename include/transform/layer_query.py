"""Rows and newest quote of a layer's model, asked through dbt so that both targets are served alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from include.settings import DBT_PROJECT
from include.transform import dbt_connection
from include.transform.manifest import work_folder


class LayerQueryError(RuntimeError):
    """dbt could not answer; the text is dbt's."""


@dataclass(frozen=True, slots=True)
class LayerCount:
    """`newest_quote_at` is UTC, None when the model has no rows."""

    rows: int
    newest_quote_at: datetime | None


def count(model: str) -> LayerCount:
    """Ask the warehouse for one model's rows and newest quote.

    Raises:
        LayerQueryError: dbt failed.
    """
    from dbt.cli.main import dbtRunner  # late: importing dbt takes more than a second

    arguments = ["--quiet", "--log-format", "text", "--log-level-file", "none", "--no-write-json"]
    arguments += ["show", "--output", "json", "--inline", "{{ layer_count('" + model + "') }}"]
    arguments += ["--project-dir", str(DBT_PROJECT), "--target-path", str(work_folder()), *dbt_connection.arguments()]
    answer = dbtRunner().invoke(arguments)
    if not answer.success or answer.result is None:
        raise LayerQueryError(f"counting {model}: {answer.exception or answer.result}")
    table: Any = answer.result.results[0].agate_table  # type: ignore[union-attr]
    row = dict(zip(table.column_names, table.rows[0], strict=True))
    newest = row["newest_quote_ms"]
    return LayerCount(
        rows=int(row["row_count"]),
        newest_quote_at=None if newest is None else datetime.fromtimestamp(int(newest) / 1000, UTC),
    )
