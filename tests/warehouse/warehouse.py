"""A warehouse under test: the project's dbt, in this process, on its own DuckDB file."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from include.settings import PROJECT_ROOT
from include.transform import dbt_connection, test_history
from include.transform.run_results import from_artifacts

DBT_PROJECT = PROJECT_ROOT / "include" / "dbt"


class DbtError(AssertionError):
    """The dbt command failed, not a data test; the text is dbt's."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one node."""

    name: str
    status: str
    failures: int | None
    message: str | None


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The process environment with `variables`; it is restored afterwards."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def release() -> None:
    """Close the file that dbt's adapter keeps open, and locked, after a command in this process."""
    kept_open: Any = DuckDBConnectionManager._ENV
    if kept_open is not None:
        kept_open.close()
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Warehouse:
    """`folder` holds the DuckDB file; `artifacts` (manifest, partial parse) may be shared.

    dbt parses a part of the project again, or all of it, when a variable that the project reads has another value than
    in the saved parse. So warehouses that share `artifacts` should have the same bucket's name.
    """

    folder: Path
    artifacts: Path
    bucket: str
    endpoint: str

    @property
    def database(self) -> Path:
        """The DuckDB file."""
        return self.folder / "warehouse.duckdb"

    @property
    def _link(self) -> Path:
        return self.artifacts / "warehouse.duckdb"

    def prepare(self) -> None:
        """Link this warehouse to the path in the profile; for another path dbt would parse the whole project again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(self.database)

    def variables(self) -> dict[str, str]:
        """Environment of a dbt run on this warehouse, after `prepare`."""
        return {
            "WAREHOUSE_TARGET": "local",
            "WAREHOUSE_DUCKDB_PATH": str(self._link),
            "WAREHOUSE_DATABASE": "lake",
            "S3_BUCKET": self.bucket,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def _target_folder(self, arguments: tuple[str, ...]) -> Path:
        """Each `--vars` has its own folder: dbt parses the whole project when they differ from the saved parse's."""
        if "--vars" not in arguments:
            return self.artifacts
        variables = arguments[arguments.index("--vars") + 1]
        return self.artifacts / f"vars_{zlib.crc32(variables.encode()):08x}"

    def invoke(self, *arguments: str, artifacts: bool = False) -> Any:
        """Run a dbt command; its raw result. Data tests may fail.

        Without `artifacts` dbt does not write manifest.json, for which it needs half a second, nor its results.

        Raises:
            DbtError: dbt could not run the command.
        """
        command = ["--quiet", "--log-level-file", "none", "--write-json" if artifacts else "--no-write-json"]
        command += [*arguments, "--project-dir", str(DBT_PROJECT), "--target-path", str(self._target_folder(arguments))]
        self.prepare()
        with environment(self.variables()):
            response = dbtRunner().invoke([*command, *dbt_connection.arguments()])
        release()
        if response.exception is not None:
            raise DbtError(f"dbt {' '.join(arguments)}: {response.exception}")
        return response.result

    def dbt(self, *arguments: str, artifacts: bool = False) -> dict[str, Result]:
        """Run a dbt command that builds or tests; results by node name. `artifacts` as in `invoke`.

        Raises:
            DbtError: dbt could not run the command, or a node was in error.
        """
        results = {
            node.node.name: Result(node.node.name, str(node.status), node.failures, node.message)
            for node in self.invoke(*arguments, artifacts=artifacts)
        }
        errors = [f"{result.name}: {result.message}" for result in results.values() if result.status == "error"]
        if errors:
            raise DbtError("; ".join(errors))
        return results

    def load(self, *arguments: str) -> None:
        """`dbt build` of seeds and models, without tests."""
        self.dbt(
            "build", "--exclude", "resource_type:unit_test", "resource_type:test", "resource_type:snapshot", *arguments
        )

    def build(self, *arguments: str) -> dict[str, Result]:
        """`dbt build` without unit tests; it writes its artifacts."""
        return self.dbt("build", "--exclude", "resource_type:unit_test", *arguments, artifacts=True)

    def test_runs(self, dag_id: str, run_id: str) -> list[test_history.TestRun]:
        """The data tests of the last invocation that wrote its artifacts, in the form that the DAGs store."""
        artifacts = [json.loads((self.artifacts / name).read_text()) for name in ("run_results.json", "manifest.json")]
        return test_history.rows(from_artifacts(*artifacts), dag_id, run_id)

    def undescribed_columns(self) -> dict[str, set[str]]:
        """Columns that the engine shows and the project does not describe, by node; each existing table is a key.

        Tables of failing rows have the columns of the tested model, and the sources in layers.yml those of their model.
        """
        catalog = self.invoke("docs", "generate", "--no-compile", artifacts=True)
        manifest = json.loads((self.artifacts / "manifest.json").read_text())
        described = {
            node_id: {name.lower() for name, column in node["columns"].items() if column["description"]}
            for kind in ("nodes", "sources")
            for node_id, node in manifest[kind].items()
            if node["resource_type"] != "test" and node.get("source_name", "landing") == "landing"
        }
        shown = catalog.nodes | catalog.sources
        return {
            node_id: {name.lower() for name in table.columns} - described[node_id]
            for node_id, table in shown.items()
            if node_id in described
        }

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query; schemas are lake_bronze, lake_silver, lake_gold."""
        with duckdb.connect(str(self.database)) as connection:
            return connection.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        """Change the data, as only a test does."""
        with duckdb.connect(str(self.database)) as connection:
            connection.execute(sql)

    def copy(self, folder: Path) -> Warehouse:
        """The same warehouse in another folder."""
        twin = replace(self, folder=folder)
        folder.mkdir(parents=True)
        shutil.copyfile(self.database, twin.database)
        return twin


def reported(results: Mapping[str, Result]) -> set[str]:
    """Names of the tests that failed or warned."""
    return {result.name for result in results.values() if result.status in {"fail", "warn"}}
