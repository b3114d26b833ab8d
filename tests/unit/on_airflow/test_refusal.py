"""A run whose parameters cannot be used."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.on_airflow import refusal
from include.on_airflow.dead_letter_replay import filter_of
from include.on_airflow.refusal import RunParameterError

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("given", "declared", "says"),
    [
        ({"selekt"}, {"select", "full_refresh"}, "selekt is not a parameter of this DAG: did you mean select"),
        ({"x"}, {"select"}, "The parameters are select"),
        ({"x"}, set(), "This DAG has no parameters"),
        ({"Select"}, {"select"}, "Select is not"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(given: set[str], declared: set[str], says: str) -> None:
    with pytest.raises(RunParameterError, match=says):
        refusal.check_names(given, declared)


def test_declared_names_are_accepted() -> None:
    refusal.check_names({"select"}, {"select", "full_refresh"})
    refusal.check_names({}, {})


def test_a_refusal_ends_the_task_and_leaves_its_reason_for_the_monitor() -> None:
    pushed: dict[str, Any] = {}
    context: Any = {
        "ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value})),
        "dag_run": SimpleNamespace(conf={"selekt": "a"}),
        "dag": SimpleNamespace(params={"select": None}),
    }
    with pytest.raises(AirflowFailException, match="did you mean select") as raised:
        refusal.refuse_unknown_names(context)
    assert refusal.is_refusal(raised.value)
    assert "selekt" in pushed[refusal.REFUSED]


@pytest.mark.parametrize("error", [None, "text", RuntimeError("no"), AirflowFailException("no")])
def test_any_other_error_is_no_refusal(error: object) -> None:
    assert not refusal.is_refusal(error)


@pytest.mark.parametrize(
    ("days", "says"),
    [
        ({"since": "2026-11-20", "until": "2026-11-19"}, r"since is 2026-11-20, which is after until \(2026-11-19\)"),
        ({"since": "2026-11-24"}, "after today"),
        ({"until": "yesterday"}, "write it as"),
    ],
)
def test_days_without_dead_letters_are_refused(days: dict[str, str], says: str) -> None:
    params = {"since": None, "until": None, "error_class": None, "partition": None, "offset": None}
    with pytest.raises(RunParameterError, match=says):
        filter_of(params | days, TODAY)
    assert filter_of(params | {"since": "2026-11-23", "until": "2026-11-23"}, TODAY).since == TODAY
