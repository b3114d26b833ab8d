"""A query of a macro of the dbt project; it goes through dbt, so it works on both targets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from include.settings import DBT_PROJECT
from include.transform import dbt_connection
from include.transform.manifest import work_folder

Row = TypeVar("Row")


class InlineQueryError(RuntimeError):
    """The query failed; the text is dbt's."""


def rows(macro: str, kind: type[Row]) -> list[Row]:
    """All rows of the query that `macro` (a call: `kpi_state()`) makes, each as a struct with fields for columns.

    Raises:
        InlineQueryError: dbt failed (for example because a model was never built).
        ValidationError: a value is not of its field's type.
    """
    from dbt.cli.main import dbtRunner  # late: importing dbt takes more than a second

    # Otherwise dbt prints every row into the log of the task.
    arguments = ["--log-level", "none", "--log-level-file", "none", "--no-write-json"]
    arguments += ["show", "--output", "json", "--limit", "-1", "--inline", "{{ " + macro + " }}"]
    arguments += ["--project-dir", str(DBT_PROJECT), "--target-path", str(work_folder()), *dbt_connection.arguments()]
    response = dbtRunner().invoke(arguments)
    if not response.success or response.result is None:
        raise InlineQueryError(f"querying {macro}: {response.exception or response.result}")
    return of_table(response.result.results[0].agate_table, kind)  # type: ignore[union-attr]


def of_table(table: Any, kind: type[Row]) -> list[Row]:
    """The rows of dbt's table (agate), whose numbers are decimals. Columns without a field are left out."""
    plain = ([float(value) if isinstance(value, Decimal) else value for value in row] for row in table.rows)
    named = [dict(zip(table.column_names, row, strict=True)) for row in plain]
    return msgspec.convert(named, list[kind], strict=False)  # type: ignore[valid-type]
