"""What a dbt task outside the layers leaves, in S3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from include.on_airflow import connections, test_results
from include.settings import StorageSettings
from include.state import json_object, task_tests
from include.state.layer_state import FailingTest, LayerTests, Run
from include.state.task_tests import TaskTests
from include.transform import run_results
from include.transform.run_results import Invocation, TestResult

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RUN = Run("lakehouse_maintenance", "r", "http://airflow.test/r")
FAILING = LayerTests(70, 1, 0, (FailingTest("no_price_jump", "warn", 2, "Got 2 results"),))
ALL_ROWS = "lakehouse_maintenance.test_all_rows"


@pytest.fixture
def storage(bucket: str) -> StorageSettings:
    return StorageSettings(bucket=bucket)


@pytest.mark.servers
def test_what_is_written_is_read_and_since_is_carried_over(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    assert task_tests.read_all(s3, storage) == []
    task_tests.write(s3, storage, TaskTests(ALL_ROWS, NOW, FAILING, RUN))
    task_tests.write(s3, storage, TaskTests(ALL_ROWS, NOW + timedelta(days=1), FAILING, RUN))
    task_tests.write(s3, storage, TaskTests("lakehouse_maintenance.compact_tables", NOW, LayerTests(), RUN))
    (found,) = task_tests.read_all(s3, storage)
    assert (found.task, found.finished_at, found.run) == (ALL_ROWS, NOW + timedelta(days=1), RUN)
    assert (found.tests.passed, found.tests.warned) == (70, 1)
    assert found.tests.failing[0].since == NOW


@pytest.mark.servers
def test_a_broken_object_is_an_error_and_the_next_run_mends_it(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket=storage.bucket, Key=task_tests.key(storage, ALL_ROWS), Body=b"{}")
    with pytest.raises(json_object.StateUnreadableError, match=r"s3:.*state/tests/.*task"):
        task_tests.read_all(s3, storage)
    task_tests.write(s3, storage, TaskTests(ALL_ROWS, NOW, FAILING, RUN))
    assert len(task_tests.read_all(s3, storage)) == 1


@pytest.mark.servers
@pytest.mark.parametrize(
    ("task_id", "status", "attempt", "params", "left"),
    [
        ("cross_layer_tests", "fail", 2, {}, 1),
        ("cross_layer_tests", "fail", 1, {}, None),  # it is tried again
        ("cross_layer_tests", "warn", 1, {}, 1),
        ("cross_layer_tests", "fail", 2, {"select": "tag:cross_layer"}, None),  # perhaps not all of its tests
        ("reference.assets_seed", "fail", 2, {"select": None}, 1),
        ("silver.crypto_stage", "fail", 2, {}, None),  # record_silver tells of it
    ],
)
def test_a_dbt_task_outside_the_layers_leaves_its_tests(
    storage: StorageSettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    task_id: str,
    status: str,
    attempt: int,
    params: dict[str, Any],
    left: int | None,
) -> None:
    found = TestResult("test.lake.no_hole.0", "no_hole", "cross_layer", "m", "error", status, 3, 0.1, "Got 3 results")
    monkeypatch.setenv("S3_BUCKET", storage.bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    monkeypatch.setattr(run_results, "read", lambda _: Invocation("id", NOW, (found,)))
    ti = SimpleNamespace(
        dag_id="crypto_transform",
        task_id=task_id,
        run_id="r",
        try_number=attempt,
        max_tries=1,
        xcom_push=lambda **_: None,
    )
    test_results.keep(str(tmp_path), {"ti": ti, "params": params})
    states = task_tests.read_all(boto3.client("s3"), storage)
    assert [len(one.tests.failing) for one in states] == ([] if left is None else [left])
