"""The test results of dbt tasks outside the layers, on a real S3 endpoint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.settings import StorageSettings
from include.state import json_object, task_tests
from include.state.dbt_tests import NO_TESTS, DbtTests, FailingTest
from include.state.layer_state import DagRunRef
from include.state.task_tests import TaskTests

pytestmark = pytest.mark.servers

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RUN = DagRunRef("lakehouse_maintenance", "r", "http://airflow.test/r")
FAILING = DbtTests(70, 1, 0, (FailingTest("no_price_jump", "warn", 2, "Got 2 results"),))
ALL_ROWS = "lakehouse_maintenance.test_all_rows"


@pytest.fixture
def storage(bucket: str) -> StorageSettings:
    return StorageSettings(bucket=bucket)


def test_the_last_run_is_read_and_since_is_taken_over(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    assert task_tests.read_all(s3, storage) == []
    task_tests.write(s3, storage, TaskTests(ALL_ROWS, NOW, FAILING, RUN))
    task_tests.write(s3, storage, TaskTests(ALL_ROWS, NOW + timedelta(days=1), FAILING, RUN))
    (state,) = task_tests.read_all(s3, storage)
    assert state == TaskTests(ALL_ROWS, NOW + timedelta(days=1), FAILING.dated(None, NOW), RUN)


def test_a_task_without_tests_leaves_no_object(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    task_tests.write(s3, storage, TaskTests("lakehouse_maintenance.compact_tables", NOW, NO_TESTS, RUN))
    assert task_tests.read_all(s3, storage) == []


def test_a_task_that_has_no_tests_any_more_clears_its_object(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    task_tests.write(s3, storage, TaskTests(ALL_ROWS, NOW, FAILING, RUN))
    task_tests.write(s3, storage, TaskTests(ALL_ROWS, NOW, NO_TESTS, RUN))
    assert [state.tests for state in task_tests.read_all(s3, storage)] == [NO_TESTS]


def test_a_broken_object_hides_no_other_task(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    task_tests.write(s3, storage, TaskTests(ALL_ROWS, NOW, FAILING, RUN))
    broken = task_tests.key(storage, "crypto_transform.cross_layer_tests")
    s3.put_object(Bucket=storage.bucket, Key=broken, Body=b"{")
    s3.put_object(Bucket=storage.bucket, Key=task_tests.prefix(storage), Body=b"")  # a console's "folder"
    unreadable: dict[str, str] = {}
    assert [state.task for state in task_tests.read_all(s3, storage, unreadable)] == [ALL_ROWS]
    assert list(unreadable) == [broken]


def test_a_broken_object_is_an_error_and_the_next_run_replaces_it(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket=storage.bucket, Key=task_tests.key(storage, ALL_ROWS), Body=b"{}")
    with pytest.raises(json_object.StateUnreadableError, match=r"s3:.*state/tests/.*task"):
        task_tests.read_all(s3, storage)
    task_tests.write(s3, storage, TaskTests(ALL_ROWS, NOW, FAILING, RUN))
    assert len(task_tests.read_all(s3, storage)) == 1
