"""Seed, snapshot and views that the transform calls unchanged are not built again, unless the warehouse lacks them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from include.transform import companions
from tests.warehouse.warehouse import Result, Warehouse, environment

pytestmark = pytest.mark.servers

NODES = tuple(node for table in companions.VIEWS for node in companions.of(table))


@pytest.fixture
def warehouse(built_warehouse: Callable[[Path], Warehouse], tmp_path: Path) -> Warehouse:
    return built_warehouse(tmp_path / "copy")


def build(warehouse: Warehouse) -> dict[str, Result]:
    with environment({companions.VARIABLE: " ".join(NODES)}):
        return warehouse.dbt("build", "--select", *NODES, "--exclude", "resource_type:test", "resource_type:unit_test")


def test_unchanged_nodes_are_kept(warehouse: Warehouse) -> None:
    warehouse.execute("comment on table lake_reference.assets is 'kept'")
    warehouse.execute("comment on view lake_gold.kpi_daily is 'kept'")
    assert {result.status for result in build(warehouse).values()} == {"success"}
    comments = warehouse.query(
        "select comment from duckdb_tables() where table_name = 'assets' and schema_name = 'lake_reference' "
        "union all select comment from duckdb_views() where view_name = 'kpi_daily'"
    )
    assert comments == [("kept",), ("kept",)]


def test_missing_nodes_are_built_in_any_case(warehouse: Warehouse) -> None:
    warehouse.execute("drop table lake_reference.assets")
    warehouse.execute("drop table lake_reference.assets_history")
    warehouse.execute("drop view lake_gold.kpi_daily")
    build(warehouse)
    assert warehouse.query("select count(*) from lake_reference.assets_history") == [(3,)]
    assert warehouse.query("select count(*) > 0 from lake_gold.kpi_daily") == [(True,)]
