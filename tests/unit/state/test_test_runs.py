"""The last runs of each data test."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.settings import StorageSettings
from include.state import test_runs
from include.state.test_runs import FORGOTTEN_AFTER, MOST_RUNS, Run, TestRuns

NOW = datetime(2026, 11, 30, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


def runs(*statuses: str, end: datetime = NOW) -> Sequence[Run]:
    times = [end - (len(statuses) - 1 - place) * HOUR for place in range(len(statuses))]
    return [Run(at, status, 0) for at, status in zip(times, statuses, strict=True)]


def history(*statuses: str, end: datetime = NOW, name: str = "a") -> TestRuns:
    return TestRuns(name, "gold", "crypto_x", "error", runs(*statuses, end=end))


def test_a_run_is_added_to_those_before() -> None:
    merged = test_runs.merged({"id": history("pass", end=NOW - HOUR)}, {"id": history("fail")}, NOW)
    assert [run.status for run in merged["id"].runs] == ["pass", "fail"]


def test_a_run_that_is_stored_twice_counts_once() -> None:
    once = {"id": history("pass")}
    assert [run.status for run in test_runs.merged(once, once, NOW)["id"].runs] == ["pass"]


def test_only_the_last_runs_are_kept() -> None:
    before = {"id": history(*["pass"] * MOST_RUNS, end=NOW - HOUR)}
    kept = test_runs.merged(before, {"id": history("fail")}, NOW)["id"].runs
    assert (len(kept), kept[-1].status) == (MOST_RUNS, "fail")


def test_a_test_that_no_longer_runs_is_forgotten() -> None:
    before = {"old": history("pass", end=NOW - FORGOTTEN_AFTER - HOUR), "young": history("pass", end=NOW - HOUR)}
    assert set(test_runs.merged(before, {}, NOW)) == {"young"}


@pytest.mark.parametrize(
    ("statuses", "hours"), [(("pass",), None), (("fail", "pass"), None), (("pass", "fail", "skipped", "fail"), 2)]
)
def test_it_fails_since_the_first_run_after_the_last_good_one(statuses: tuple[str, ...], hours: int | None) -> None:
    assert history(*statuses).failing_since == (None if hours is None else NOW - hours * HOUR)


def test_a_skipped_run_is_no_change() -> None:
    assert not history("pass", "skipped", "pass", "skipped", "pass").flaky
    assert history("pass", "fail", "pass", "fail", "pass").flaky


@pytest.fixture
def storage(bucket: str) -> StorageSettings:
    return StorageSettings(bucket=bucket)


@pytest.mark.servers
def test_the_tests_of_all_tasks_are_read_by_name(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    test_runs.add(s3, storage, "dag.gold", {"2": history("pass", name="b")}, NOW)
    test_runs.add(s3, storage, "dag.silver", {"1": history("fail", name="a")}, NOW)
    test_runs.add(s3, storage, "dag.silver", {}, NOW)
    s3.put_object(Bucket=storage.bucket, Key=test_runs.key(storage, "dag.broken"), Body=b"{")
    broken: dict[str, str] = {}
    assert [test.name for test in test_runs.read_all(s3, storage, broken)] == ["a", "b"]
    assert list(broken) == ["state/test_runs/dag.broken.json"]


@pytest.mark.servers
def test_a_broken_object_is_replaced_by_the_next_run(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket=storage.bucket, Key=test_runs.key(storage, "dag.gold"), Body=b"{")
    test_runs.add(s3, storage, "dag.gold", {"1": history("pass")}, NOW)
    assert [test.name for test in test_runs.read_all(s3, storage)] == ["a"]
