"""The monitor's look at the DAGs uses the settings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from include.monitoring.checks import dag_memory
from include.monitoring.checks.dag_runs import Look, Run
from include.on_airflow import dag_runs
from include.settings import load

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("[]", {"crypto_transform", "lakehouse_maintenance"}),
        ('["lakehouse_maintenance"]', {"crypto_transform"}),
    ],
)
def test_the_pause_of_a_named_dag_is_no_problem(monkeypatch: pytest.MonkeyPatch, named: str, told: set[str]) -> None:
    monkeypatch.setenv("MONITOR_PAUSED_DAGS", named)
    run = Run("r", "success", NOW)
    monkeypatch.setattr(dag_runs, "_look", lambda *_: Look(NOW, paused=True, newest=run))
    monkeypatch.setattr(dag_runs, "_unread", lambda *_: False)
    monkeypatch.setattr(dag_memory, "read", lambda *_: ({}, ""))
    monkeypatch.setattr(dag_memory, "write", lambda *_: "")
    problems = dag_runs.measure(cast("Any", None), load(), NOW).problems
    assert {dag for dag, found in problems.items() if found} == told
