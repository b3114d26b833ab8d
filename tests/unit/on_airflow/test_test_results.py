"""The results of dbt's tests are counted, logged and stored for the monitor."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import msgspec
import pytest

from include.on_airflow import connections, layer_record, test_results
from include.settings import StorageSettings
from include.state import task_tests, test_runs
from include.state.dbt_tests import DbtTests
from include.transform import failing_rows, run_results, test_history
from include.transform.run_results import Invocation, TestResult

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def result(name: str, status: str, failures: int = 0, message: str = "", stored_in: str = "") -> TestResult:
    node_id = f"test.crypto_lakehouse.{name}.0123456789"
    return TestResult(node_id, name, "silver", "m", "error", status, failures, 0.1, message, stored_in)


def test_each_status_has_its_count() -> None:
    tests = (
        result("unique_record_id", "pass"),
        result("price_in_range_price", "warn", 3, "Got 3 results", stored_in="prices"),
        result("not_null_symbol", "fail", 7, "Got 7 results", stored_in="symbols"),
        result("broken_sql", "error", message="no such column"),
        result("after_a_failure", "skipped"),
    )
    summary = Invocation("id", NOW, tests).summary({"prices": "price=-1"})
    assert (summary.passed, summary.warned, summary.failed) == (1, 1, 2)
    assert [(test.name, test.severity, test.failures, test.rows) for test in summary.failing] == [
        ("price_in_range_price", "warn", 3, "price=-1"),
        ("not_null_symbol", "error", 7, ""),
        ("broken_sql", "error", 0, ""),
    ]


def test_rows_are_short_lines() -> None:
    rows: list[dict[str, str | None]] = [
        {"id": "7", "price": None, "record": "x" * 500},
        {"id": "8", "price": "1.5", "record": "two\nlines"},
    ]
    rows.append({"kafka_partition": "2", "kafka_offset": "4217"})
    first, second, third = failing_rows.as_text(rows).splitlines()
    assert first == f"id=7 price=null record={'x' * failing_rows.MAX_VALUE_LENGTH}..."
    assert second == "id=8 price=1.5 record=two lines"
    assert third == "kafka_partition=2 kafka_offset=4217 (python -m include.audit where 2/4217)"


def test_the_log_has_a_failing_test_with_rows_time_and_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    nodes = {node_id: {"config": {"store_failures": True}, "relation_name": "kept"} for node_id in (passed, failed)}
    metadata = {"invocation_id": "i", "generated_at": "2026-01-01T10:00:00.000000Z"}
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "run_results.json").write_text(json.dumps({"metadata": metadata, "results": results}))
    (tmp_path / "target" / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    monkeypatch.setattr(failing_rows, "fetch", lambda *_: {"kept": "symbol=null"})
    monkeypatch.setattr(connections, "s3_client", lambda: None)
    monkeypatch.setattr(test_history, "keep", lambda *_: None)
    monkeypatch.setattr(test_runs, "add", lambda *_: None)
    monkeypatch.setattr(layer_record, "after", lambda *_, **__: None)
    test_results.keep(str(tmp_path), {"ti": Mock(dag_id="d", run_id="r", task_id="silver.crypto_stage_model_build")})
    [call] = log.log.call_args_list
    level, form, *values = call.args
    assert level == logging.ERROR
    assert form % tuple(values) == (
        "test not_null_symbol: fail, 7 rows in 0.3 s. \nsample rows:\nsymbol=null\nSQL:\nselect 'why'"
    )


def keep(bucket: str, monkeypatch: pytest.MonkeyPatch, status: str, **task: Any) -> Mock:
    """Keep the results of a dbt task with one test of this status; returns the task instance."""
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    monkeypatch.setattr(run_results, "read", lambda _: Invocation("id", NOW, (result("no_hole", status, 3),)))
    monkeypatch.setattr(layer_record, "after", lambda *_, **__: None)
    ti = Mock(dag_id="crypto_transform", run_id="r", max_tries=1, task_id=task["task_id"], try_number=task["attempt"])
    test_results.keep("", {"ti": ti, "params": task.get("params", {})})
    return ti


@pytest.mark.servers
def test_the_pushed_tests_are_the_same_after_their_way_through_xcom(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ti = keep(bucket, monkeypatch, "fail", task_id="silver.crypto_stage", attempt=1)
    (push,) = ti.xcom_push.call_args_list
    assert push.kwargs["key"] == test_results.XCOM_KEY
    tests = msgspec.convert(json.loads(json.dumps(push.kwargs["value"])), DbtTests)
    assert (tests.failed, tests.failing[0].name) == (1, "no_hole")


@pytest.mark.servers
def test_each_run_of_a_test_is_kept_for_the_page(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(bucket, monkeypatch, "fail", task_id="silver.crypto_stage", attempt=1)
    (test,) = test_runs.read_all(boto3.client("s3"), StorageSettings(bucket=bucket))
    assert (test.name, test.layer, test.task) == ("no_hole", "silver", "crypto_transform.silver.crypto_stage")
    assert [(run.at, run.status, run.failures) for run in test.runs] == [(NOW, "fail", 3)]
    assert test.url.endswith("/dags/crypto_transform/runs/r")


@pytest.mark.servers
@pytest.mark.parametrize(
    ("task_id", "status", "attempt", "params", "left"),
    [
        pytest.param("cross_layer_tests", "fail", 2, {}, [1], id="last attempt"),
        pytest.param("cross_layer_tests", "fail", 1, {}, [], id="it is tried again"),
        pytest.param("cross_layer_tests", "warn", 1, {}, [1], id="a warning is not tried again"),
        pytest.param("cross_layer_tests", "fail", 2, {"select": "x"}, [], id="a selection may leave out tests"),
        pytest.param("test_all_rows", "fail", 2, {"select": None}, [1], id="every row"),
        pytest.param("silver.crypto_stage", "fail", 2, {}, [], id="the layer has them"),
    ],
)
def test_a_dbt_task_outside_the_layers_leaves_its_tests(
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    task_id: str,
    status: str,
    attempt: int,
    params: dict[str, Any],
    left: list[int],
) -> None:
    keep(bucket, monkeypatch, status, task_id=task_id, attempt=attempt, params=params)
    states = task_tests.read_all(boto3.client("s3"), StorageSettings(bucket=bucket))
    assert [len(state.tests.failing) for state in states] == left
