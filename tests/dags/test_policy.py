"""Rules for every DAG of the bundle, and the graph of each.

The graphs are in `graphs/`, one line for each task. After an intended change run
`UPDATE_GRAPHS=1 make test-dags`, and read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from tests.dags.conftest import DAGS

GRAPHS = Path(__file__).with_name("graphs")
NAMES = sorted(path.stem for path in DAGS.glob("*.py"))

REPORTED_BY_NOTIFY = ("measure_", "publish", "check_")
"""Tasks of the monitor without a callback: `notify` alone mails their results, a start once and an end once.
A callback of their own would mail in every run."""

TRIED_ONCE = ("check_", "notify", "replay")
"""Tasks that are not tried again. A condition is judged once in a run: a retry would delay the mail and get the same
verdict. A replay sends messages: a person repeats it after reading the reason of the failure."""


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    bag = DagBag(str(DAGS))
    assert not bag.import_errors
    return dict(bag.dags)


def test_each_file_has_the_dag_of_its_name(dags: dict[str, DAG]) -> None:
    assert sorted(dags) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_dag_has_a_page_with_purpose_owner_and_triage(dags: dict[str, DAG], name: str) -> None:
    dag = dags[name]
    lines = (dag.doc_md or "").splitlines()
    assert [line for line in ("### What it does", "### Owner", "### Triage") if line not in lines] == []
    assert dag.description
    assert "lakehouse" in dag.tags
    assert len(dag.tags) >= 2, "the part of the lakehouse, too"
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert dag.dagrun_timeout is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_task_has_an_owner_a_timeout_retries_and_a_callback(dags: dict[str, DAG], name: str) -> None:
    for task in dags[name].tasks:
        assert task.owner == "data-platform", task.task_id
        assert task.execution_timeout is not None, task.task_id
        if name == "pipeline_monitor" and task.task_id.startswith(REPORTED_BY_NOTIFY):
            assert not task.on_failure_callback, task.task_id
        else:
            assert task.on_failure_callback, task.task_id
        if task.task_id.startswith(TRIED_ONCE):
            assert task.retries == 0, task.task_id
        else:
            assert (task.retries or 0) >= 1, task.task_id


def graph(dag: DAG) -> str:
    """One line for each task: type, trigger rule, pool, retries, and the tasks after it."""
    lines = [
        f"{task.task_id}: {task.task_type} {task.trigger_rule} pool={task.pool} retries={task.retries}"
        f" -> {', '.join(sorted(task.downstream_task_ids)) or '-'}"
        for task in sorted(dag.tasks, key=lambda task: task.task_id)
    ]
    return "\n".join([f"schedule: {dag.schedule}", *lines]) + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_is_the_one_that_was_reviewed(dags: dict[str, DAG], name: str) -> None:
    reviewed = GRAPHS / f"{name}.txt"
    if os.environ.get("UPDATE_GRAPHS"):
        GRAPHS.mkdir(exist_ok=True)
        reviewed.write_text(graph(dags[name]))
    assert graph(dags[name]) == reviewed.read_text()
