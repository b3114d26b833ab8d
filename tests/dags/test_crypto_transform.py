"""How Airflow parses crypto_transform and its parameters; tests/integration and tests/scheduler run it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, TaskGroup
from airflow.sdk.exceptions import ParamValidationError

from include.catalogue import LAYERS
from include.on_airflow.layer_record import layer_of, table_of
from include.transform import companions, dbt_connection
from include.transform.layers import asset_uri
from include.transform.manifest import manifest
from tests.dags.conftest import DAGS


@pytest.fixture
def dag() -> DAG:
    return parsed()


def parsed() -> DAG:
    bag = DagBag(str(DAGS / "crypto_transform.py"))
    assert not bag.import_errors
    return bag.dags["crypto_transform"]


@pytest.mark.parametrize("params", [{"select": "--version"}, {"target_date": "today"}, {"full_refresh": "perhaps"}])
def test_values_of_the_wrong_form_are_refused_by_airflow(dag: DAG, params: dict[str, Any]) -> None:
    with pytest.raises(ParamValidationError):  # noqa: PT012 either step may refuse
        dag.params.update(params)
        dag.params.validate()


def test_the_process_of_a_task_finds_the_same_task(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of a task builds only the group of the task; the scheduler uses the whole DAG."""
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag.dag_id)
    for task_id, task in dag.task_dict.items():
        monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", task_id)
        own = parsed()
        for name in ("task_type", "pool", "retries", "trigger_rule", "select", "exclude", "vars", "outlets"):
            assert getattr(own.task_dict[task_id], name, None) == getattr(task, name, None), (task_id, name)
        if task_id == "new_data":
            skipped = {later.task_id for later in own.task_dict[task_id].get_flat_relatives()}
            assert skipped == set(dag.task_ids) - {task_id}
            continue
        for layer in LAYERS:
            in_layer = task_id.startswith(f"{layer}.")
            assert of_group(own, layer) == (of_group(dag, layer) if in_layer else set()), (task_id, layer)


def test_each_layer_has_one_last_task_with_its_asset(dag: DAG) -> None:
    """That task records the layer and updates the asset."""
    for layer in LAYERS:
        group = dag.task_group.children[layer]
        assert isinstance(group, TaskGroup)
        (last,) = group.get_leaves()
        owners = {task_id: [asset.uri for asset in task.outlets] for task_id, task in dag.task_dict.items()}
        assert {task_id for task_id, uris in owners.items() if asset_uri(layer) in uris} == {last.node_id}


def test_every_node_of_the_layers_has_a_task(dag: DAG) -> None:
    """Add a new view to `VIEWS`, or a new seed or snapshot to `REFERENCE` (include/transform/companions.py)."""
    nodes = json.loads(manifest().read_text())["nodes"].values()
    expected = {
        node["name"]
        for node in nodes
        if node["resource_type"] in {"seed", "snapshot"}
        or (node["resource_type"] == "model" and "monitoring" not in node["tags"])
    }
    tables = [table_of(task_id) for task_id in dag.task_ids if layer_of(task_id)]
    assert Counter(name for table in tables for name in (table, *companions.of(table))) == Counter(expected)


def of_group(dag: DAG, group: str) -> set[str]:
    return {task_id for task_id in dag.task_ids if task_id.startswith(f"{group}.")}


def test_every_dbt_command_has_the_connection_options_of_cosmos(dag: DAG) -> None:
    """With other options dbt cannot use a saved parse, and parses the project again (seconds)."""
    arguments = dbt_connection.arguments()
    tasks: list[Any] = [task for task in dag.tasks if hasattr(task, "profile_config")]
    assert len(tasks) == 6
    for task in tasks:
        flags = task._generate_dbt_flags("anywhere", dbt_connection.PROFILES)
        named = {flags[i]: flags[i + 1] for i in range(0, len(flags) - 1, 2)}
        assert {arguments[i]: arguments[i + 1] for i in range(0, len(arguments), 2)}.items() <= named.items()
        assert task.cache_dir, task.task_id
