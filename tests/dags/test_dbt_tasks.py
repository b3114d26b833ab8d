"""Each data test runs exactly once in a DAG run: no task group leaves it out, and no two tasks run it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from cosmos.operators.local import DbtTestLocalOperator
from dbt.cli.main import dbtRunner

from include.settings import DBT_PROJECT
from include.state.task_tests import EVERY_ROW
from tests.dags.conftest import DAGS
from tests.warehouse.warehouse import environment


class Dbt:
    """Lists the nodes of a selection with dbt itself; the project is parsed once."""

    def __init__(self, target_path: Path) -> None:
        self._folders = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--target", "ci"]
        self._folders += ["--target-path", str(target_path), "--log-level-file", "none"]
        self._runner = dbtRunner()
        self._runner = dbtRunner(manifest=self._invoke("parse"))

    def _invoke(self, *arguments: str) -> Any:
        with environment({}):
            response = self._runner.invoke(["--quiet", *arguments, *self._folders])
        assert response.success, response.exception
        return response.result

    def tests(self, *selection: str) -> list[str]:
        """Names of the data tests."""
        return list(self._invoke("list", "--resource-type", "test", "--output", "name", *selection))


@pytest.fixture(scope="module")
def dbt(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    return Dbt(tmp_path_factory.mktemp("dbt-target"))


def words(text: str | list[str] | None) -> list[str]:
    """The selectors in a task's `select` or `exclude`."""
    return text.split() if isinstance(text, str) else list(text or ())


def runs_by_test(dag_id: str, dbt: Dbt) -> Counter[str]:
    """Number of runs of each data test, over all tasks of the DAG that build or test."""
    dag = DagBag(str(DAGS / f"{dag_id}.py")).dags[dag_id]
    runs: Counter[str] = Counter()
    for task in dag.tasks:
        if {"build", "test"} & set(getattr(task, "base_cmd", ())):
            options = [(f"--{name}", words(getattr(task, name))) for name in ("select", "exclude")]
            runs.update(dbt.tests(*(word for name, values in options if values for word in (name, *values))))
    return runs


@pytest.mark.parametrize(
    ("dag_id", "others"), [("crypto_transform", ["tag:monitoring"]), ("lakehouse_maintenance", [])]
)
def test_each_data_test_runs_once(dag_id: str, others: list[str], dbt: Dbt) -> None:
    """The tests of the test history run in the daily DAG, which builds it."""
    expected = dbt.tests(*(["--exclude", *others] if others else []))
    assert len(expected) == len(set(expected)) > 60
    assert runs_by_test(dag_id, dbt) == Counter(expected)


def test_the_monitor_knows_the_daily_run_over_every_row() -> None:
    dag_id, _, task_id = EVERY_ROW.partition(".")
    task = DagBag(str(DAGS / f"{dag_id}.py")).dags[dag_id].get_task(task_id)
    assert isinstance(task, DbtTestLocalOperator)
    assert task.vars == {"test_window_days": None}
