"""The statements of `maintain` on Athena. tests/athena shows that it packs files and loses no row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

from dbt.adapters.athena.exceptions import AthenaQueryFailedError
from dbt.adapters.athena.impl import AthenaAdapter
from jinja2 import Environment

from tests.warehouse.warehouse import DBT_PROJECT


class AdapterOfALargeTable:
    """The adapter's own code for both operations, on an Athena that once ends each operation early."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    def run_operation_with_potential_multiple_runs(self, query: str, op: str) -> None:
        AthenaAdapter.run_operation_with_potential_multiple_runs(self, query, op)

    def _run_query(self, sql: str) -> None:
        self.queries.append(sql)
        if self.queries.count(sql) == 1:
            raise AthenaQueryFailedError({}, f"ICEBERG_{sql.split()[0].upper()}_MORE_RUNS_NEEDED: run it again")


def test_a_table_too_large_for_one_run_is_maintained_in_several() -> None:
    adapter = AdapterOfALargeTable()

    def run_query(sql: str) -> Any:
        assert sql.startswith("select"), f"Athena may ask for more runs of {sql}"
        return SimpleNamespace(rows=[(7, 2048)])

    source = (DBT_PROJECT / "macros" / "maintenance.sql").read_text()
    module: Any = (
        Environment(extensions=["jinja2.ext.do"], autoescape=False)  # noqa: S701  SQL, as dbt renders it
        .from_string(source)
        .make_module({"adapter": adapter, "run_query": run_query, "log": Mock(), "return": str})
    )
    table = SimpleNamespace(render_pure=lambda: "lake.t", schema="lake", identifier="t")
    module.default__maintain_table(table)
    optimize = "optimize lake.t rewrite data using bin_pack"
    assert adapter.queries == [optimize, optimize, "vacuum lake.t", "vacuum lake.t"]
