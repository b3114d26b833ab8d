"""Data tests look at the rows of a window where the model knows when a row was loaded, and at all rows elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.warehouse.warehouse import DBT_PROJECT, Warehouse

pytestmark = [pytest.mark.servers, pytest.mark.slow]


def add_test(project: Path, file: str) -> None:
    """Add a data test of the first column of the model in `file`, as a developer would."""
    path = project / "models" / file
    content = yaml.safe_load(path.read_text())
    (model,) = content["models"]
    model["columns"][0]["data_tests"] = [{"not_null": {"name": f"{model['name']}_first_column_not_null"}}]
    path.write_text(yaml.safe_dump(content))


def test_a_data_test_of_a_view_without_load_time_runs(
    tmp_path: Path, built_warehouse: Callable[[Path], Warehouse]
) -> None:
    """Each view of gold, and the view of the test history. Their models' folders set a `where` on `loaded_at`."""
    warehouse, project = built_warehouse(tmp_path / "warehouse"), tmp_path / "dbt"
    shutil.copytree(DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs", "__pycache__"))
    views = ["kpi_correlation", "kpi_daily", "kpi_data_quality", "kpi_latest_price"]
    for file in [*(f"gold/{view}.yml" for view in views), "monitoring/test_health.yml"]:
        add_test(project, file)
    warehouse.prepare()
    command = [sys.executable, "-m", "dbt.cli.main", "--log-level-file", "none", "test", "--no-use-colors"]
    command += ["--select", *views, "test_health"]
    command += ["test_name:not_null,crypto_curated"]  # a model that knows when a row was loaded
    command += ["--exclude", "test_type:unit", "--project-dir", str(project), "--profiles-dir", str(project)]
    run = subprocess.run(
        command, env=os.environ | warehouse.variables(), capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("_first_column_not_null ") == 10, run.stdout  # each starts and passes
    compiled = {path.stem: path.read_text() for path in (project / "target" / "compiled").rglob("*not_null*.sql")}
    assert "loaded_at" not in compiled["kpi_daily_first_column_not_null"]
    assert "where loaded_at >= timestamp" in compiled["not_null_crypto_curated_hour_start"]
