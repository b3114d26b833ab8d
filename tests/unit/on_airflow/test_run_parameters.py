"""The parameters of one run of crypto_transform."""

from __future__ import annotations

import re
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from include.on_airflow import run_parameters
from include.on_airflow.refusal import RunParameterError
from include.on_airflow.run_parameters import RunParameters

TODAY = date(2026, 11, 23)


def test_a_scheduled_run_has_no_parameter() -> None:
    parameters = RunParameters.of({"full_refresh": False, "select": None, "target_date": None}, TODAY)
    assert not parameters.by_hand
    assert parameters.dbt_vars(TODAY) == {}
    assert not RunParameters.of({}, TODAY).by_hand


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"target_date": "2026-11-24"}, "after today"),
        ({"target_date": "yesterday"}, "write it as 2026-11-23"),
        ({"target_date": "2026-11-01", "full_refresh": True}, "exclude each other"),
    ],
)
def test_impossible_parameters_are_refused_with_the_reason(params: dict[str, Any], says: str) -> None:
    with pytest.raises(RunParameterError, match=says):
        RunParameters.of(params, TODAY)


def test_the_tests_look_back_to_the_target_date() -> None:
    parameters = RunParameters.of({"target_date": "2026-11-21"}, TODAY)
    assert parameters.by_hand
    assert parameters.dbt_vars(TODAY) == {
        "target_date": "2026-11-21",
        "landing_since": "2026-11-21",
        "test_window_days": 3,
    }


@pytest.mark.parametrize("text", ["crypto_stage+", "tag:gold", "crypto_raw crypto_stage", "+crypto_curated,tag:gold"])
def test_selectors_of_dbt_are_accepted(text: str) -> None:
    assert re.search(run_parameters.SELECTION, text)


@pytest.mark.parametrize("text", ["--vars {}", "-s x", "a; b", "$(b)", "", " "])
def test_text_that_is_not_a_selector_is_refused(text: str) -> None:
    assert not re.search(run_parameters.SELECTION, text)


def operator(base_cmd: str, node: str | None, select: str) -> Any:
    extra = {"dbt_node_config": {"unique_id": node}} if node else {}
    return SimpleNamespace(base_cmd=[base_cmd], extra_context=extra, select=select, vars=None, dbt_cmd_flags=[])


def context(chosen: list[str] | None = None, **params: Any) -> dict[str, Any]:
    return {"params": params, "ti": SimpleNamespace(xcom_pull=lambda **_: chosen)}


def test_a_task_builds_only_the_chosen_ones_of_its_companions() -> None:
    chosen = ["seed.lake.assets", "model.lake.crypto_checked", "model.lake.kpi_daily"]
    task = operator("build", "model.lake.crypto_stage", "fqn:crypto_stage assets assets_history crypto_checked")
    run_parameters.apply(context(chosen, select="x"), task)
    assert task.select == "assets crypto_checked"


def test_full_refresh_is_passed_to_builds_only() -> None:
    build, test = operator("build", "model.lake.a", "fqn:a"), operator("test", None, "tag:cross_layer")
    for task in (build, test):
        run_parameters.apply(context(full_refresh=True), task)
    assert (build.dbt_cmd_flags, test.dbt_cmd_flags) == (["--full-refresh"], [])


def test_selected_tasks_run_what_is_selected() -> None:
    chosen = ["model.lake.a", "test.lake.assert_sum"]
    model, tests = operator("build", "model.lake.a", "fqn:a"), operator("test", None, "tag:cross_layer")
    run_parameters.apply(context(chosen, select="a"), model)
    run_parameters.apply(context(chosen, select="a"), tests)
    assert (model.select, tests.select) == ("fqn:a", "assert_sum")


@pytest.mark.parametrize(
    "task",
    [
        operator("build", "model.lake.b", "fqn:b"),
        operator("build", "seed.lake.a", "fqn:a"),
        operator("test", None, "tag:cross_layer"),
    ],
    ids=["another model", "a seed of that name", "tests across layers"],
)
def test_a_task_outside_the_selection_is_skipped(task: Any) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match="not in the selection 'a'"):
        run_parameters.apply(context(["model.lake.a"], select="a"), task)
