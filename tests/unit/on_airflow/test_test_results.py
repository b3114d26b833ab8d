"""dbt's run results become the layer's test counts."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest

from include.on_airflow import test_results
from include.transform import failing_rows, test_history
from include.transform.layers import summarise
from include.transform.run_results import Invocation, TestResult


def result(name: str, status: str, failures: int = 0, message: str = "", stored_in: str = "") -> TestResult:
    node_id = f"test.crypto_lakehouse.{name}.0123456789"
    return TestResult(node_id, name, "silver", "m", "error", status, failures, 0.1, message, stored_in)


def test_each_status_is_counted_as_what_it_is() -> None:
    tests = (
        result("unique_record_id", "pass"),
        result("price_in_range_price", "warn", 3, "Got 3 results", stored_in="prices"),
        result("not_null_symbol", "fail", 7, "Got 7 results", stored_in="symbols"),
        result("broken_sql", "error", message="no such column"),
        result("behind_a_failure", "skipped"),
    )
    invocation = Invocation("id", datetime.now(UTC), tests)
    counted = summarise(test_results.as_xcom(invocation, {"prices": "price=-1"}))
    assert (counted.passed, counted.warned, counted.failed) == (1, 1, 2)
    assert [(test.name, test.severity, test.failures, test.rows) for test in counted.failing] == [
        ("price_in_range_price", "warn", 3, "price=-1"),
        ("not_null_symbol", "error", 7, ""),
        ("broken_sql", "error", 0, ""),
    ]


def test_rows_are_short_lines() -> None:
    rows: list[dict[str, str | None]] = [
        {"id": "7", "price": None, "record": "x" * 500},
        {"id": "8", "price": "1.5", "record": "two\nlines"},
    ]
    first, second = failing_rows.as_text(rows).splitlines()
    assert first == f"id=7 price=null record={'x' * failing_rows.MAX_VALUE_LENGTH}..."
    assert second == "id=8 price=1.5 record=two lines"


def test_the_log_tells_a_failing_test_with_rows_time_and_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Mock()
    monkeypatch.setattr(test_results, "log", log)
    passed, failed = (f"test.crypto_lakehouse.{name}.0123456789" for name in ("unique_id", "not_null_symbol"))
    results = [
        {"unique_id": passed, "status": "pass", "execution_time": 0.2, "compiled_code": "select 'quiet'"},
        {
            "unique_id": failed,
            "status": "fail",
            "failures": 7,
            "execution_time": 0.3,
            "compiled_code": "\nselect 'why'\n",
        },
    ]
    nodes = {one: {"config": {"store_failures": True}, "relation_name": "kept"} for one in (passed, failed)}
    metadata = {"invocation_id": "i", "generated_at": "2026-01-01T10:00:00.000000Z"}
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "run_results.json").write_text(json.dumps({"metadata": metadata, "results": results}))
    (tmp_path / "target" / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    monkeypatch.setattr(failing_rows, "fetch", lambda *_: {"kept": "symbol=null"})
    monkeypatch.setattr("include.on_airflow.connections.s3_client", lambda: None)
    monkeypatch.setattr(test_history, "keep", lambda *_: None)
    test_results.keep(str(tmp_path), {"ti": Mock(dag_id="d", run_id="r", task_id="silver.crypto_stage_model_build")})
    [told] = log.log.call_args_list
    level, form, *values = told.args
    assert level == logging.ERROR
    assert form % tuple(values) == (
        "test not_null_symbol: fail, 7 rows in 0.3 s. \nsample rows:\nsymbol=null\nSQL:\nselect 'why'"
    )
