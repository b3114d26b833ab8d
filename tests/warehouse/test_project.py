"""Conventions of the dbt project that dbt-bouncer does not check (include/dbt/dbt-bouncer.yml)."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dbt.artifacts.schemas.manifest import WritableManifest
from dbt.cli.main import dbtRunner

from include.on_airflow import run_parameters
from tests.warehouse.warehouse import DBT_PROJECT, Warehouse, environment


def parse(target: str, folder: Path) -> Any:
    """The manifest; each warning of dbt is an error."""
    command = ["--quiet", "--warn-error", "--log-level-file", "none", "parse", "--target", target]
    command += ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--target-path", str(folder)]
    with environment({}):
        response = dbtRunner().invoke(command)
    assert response.success, response.exception
    return response.result


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """The manifest of a target. It is parsed once."""
    return cache(lambda target: parse(target, tmp_path_factory.mktemp(target)))


@pytest.fixture(scope="module")
def manifest(parsed: Callable[[str], Any]) -> Any:
    return parsed("athena")


def test_listing_a_selection_does_not_write_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DAG processor may read the manifest at the same time: half a manifest is an import error."""
    monkeypatch.setattr(run_parameters, "work_folder", lambda: tmp_path)
    with environment({"WAREHOUSE_TARGET": "ci"}):
        nodes = run_parameters.chosen_nodes("path:models/silver")
    assert "model.crypto_lakehouse.crypto_stage" in nodes
    assert "test.crypto_lakehouse.assert_every_bronze_row_is_in_silver_or_quarantine" in nodes  # a test across layers
    # The tests of one model run with the model.
    assert not [node for node in nodes if node.startswith("test.crypto_lakehouse.not_null_")]
    assert not (tmp_path / "manifest.json").exists()


def of_kind(manifest: Any, kind: str) -> list[Any]:
    return [node for node in manifest.nodes.values() if node.resource_type == kind]


@pytest.mark.parametrize("target", ["athena", "local", "ci"])
def test_the_project_parses_without_a_warning(target: str, parsed: Callable[[str], Any]) -> None:
    assert isinstance(parsed(target).writable_manifest(), WritableManifest)


def test_every_model_and_every_column_is_described(manifest: Any) -> None:
    nodes = [n for kind in ("model", "seed", "snapshot") for n in of_kind(manifest, kind)] + list(
        manifest.sources.values()
    )
    assert [n.unique_id for n in nodes if not n.description] == []
    assert [f"{n.unique_id}.{c.name}" for n in nodes for c in n.columns.values() if not c.description] == []


@pytest.mark.servers
def test_every_existing_column_is_described(
    manifest: Any, built_warehouse: Callable[[Path], Warehouse], tmp_path: Path
) -> None:
    """Columns that no file lists count too. The landed files are tables only on Athena (tests/athena)."""
    undescribed = built_warehouse(tmp_path / "warehouse").undescribed_columns()
    tables = {n.unique_id for kind in ("model", "seed", "snapshot") for n in of_kind(manifest, kind)}
    assert {node_id: columns for node_id, columns in undescribed.items() if columns} == {}
    assert set(undescribed) == tables


def test_every_model_has_a_group_with_an_address_of_its_owner(manifest: Any) -> None:
    owners = {group.name: group.owner.email for group in manifest.groups.values()}
    assert all(owners[model.group] for model in of_kind(manifest, "model"))


def test_every_data_test_has_a_severity_and_an_owner(manifest: Any) -> None:
    groups = {group.name for group in manifest.groups.values()}
    for test in of_kind(manifest, "test"):
        assert test.config.severity.lower() in {"warn", "error"}
        assert test.config.meta.get("owner") in groups, test.name


READ = re.compile(r'from "\w+"[.]"lake_(?:bronze|silver|gold|monitoring)"[.]"\w+"(.{100})', re.DOTALL)
BOUND = re.compile(r"(?: where 1 = 1\) as dbt_subquery)?\s+where\s+\w+ (?:>= [a-z_ ('hour,]*'|is null)")


@pytest.mark.servers
def test_no_data_test_reads_a_whole_table(built_warehouse: Callable[[Path], Warehouse], tmp_path: Path) -> None:
    """Each read of a growing table is bounded by a literal or by Iceberg's counts, so that the cost stays constant."""
    compiled = built_warehouse(tmp_path / "warehouse").invoke("compile", "--select", "resource_type:test")
    reads = [(result.node.name, rest) for result in compiled for rest in READ.findall(result.node.compiled_code)]
    assert len({name for name, _ in reads}) > 60
    assert [(name, rest) for name, rest in reads if not BOUND.match(rest)] == []


def test_tests_across_layers_are_tagged(manifest: Any) -> None:
    """A test of two models or more is tagged `cross_layer`. The seed of coins is no model."""
    for test in of_kind(manifest, "test"):
        models = [node for node in test.depends_on.nodes if node.startswith("model.")]
        assert (len(models) > 1) == ("cross_layer" in test.tags), test.name


def test_a_reader_of_the_file_delays_dbt_and_does_not_fail_it(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.dbt("build", "--select", "assets")
    read = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", read, str(warehouse.database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()

        def end_it(_seconds: float) -> None:
            reader.kill()
            reader.wait()

        monkeypatch.setattr("time.sleep", end_it)
        assert {result.status for result in warehouse.dbt("build", "--select", "assets").values()} <= {
            "success",
            "pass",
        }
        assert reader.poll() is not None, "dbt did not wait for it"
