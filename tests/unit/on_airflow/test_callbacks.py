"""The alerts of failed tasks, and the delivery of their notices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import msgspec
import pytest

from include.monitoring.alerts.mail import Mail
from include.monitoring.alerts.model import AlertState, Notice, OpenAlert
from include.monitoring.alerts.store import S3AlertStore
from include.on_airflow import callbacks, channels, connections, runs
from include.settings import Settings, StorageSettings, load
from include.state.dbt_tests import DbtTests, FailingTest

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FAILED = FailingTest("not_null_price", "error", 3, "Got 3 results", rows="id=7 price=")
WARNED = FailingTest("price_in_range", "warn", 9, "Got 9 results")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("S3_BUCKET", "lake")
    monkeypatch.setattr(runs, "successes", lambda _: 7)
    return load()


def context(task_id: str, tests: object, error: Exception | None = None) -> Any:
    """The context of a failed task that left these tests."""
    pushed = msgspec.to_builtins(tests)
    ti = SimpleNamespace(dag_id="d", task_id=task_id, run_id="r", try_number=2, xcom_pull=lambda **_: pushed)
    return {"ti": ti, "exception": error}


@pytest.mark.parametrize(
    ("task_id", "place"), [("silver.stage", "silver"), ("cross_layer_tests", "d.cross_layer_tests")]
)
def test_each_failed_test_is_an_alert_with_the_text_of_the_monitor(
    settings: Settings, task_id: str, place: str
) -> None:
    tests = DbtTests(5, 1, 1, (FAILED, WARNED))
    (alert,) = callbacks.alerts_of(context(task_id, tests), settings, NOW)
    assert (alert.key, alert.value, alert.details) == (
        "dbt_tests:not_null_price",
        "3 failing rows",
        (FAILED.report(place),),
    )
    assert (alert.task, alert.successes, alert.raised_by) == (f"d/{task_id}", 7, "d")


@pytest.mark.parametrize(
    "tests", [None, DbtTests(5, 1, 0, (WARNED,)), [{"status": "fail"}]], ids=["no tests", "only warnings", "unreadable"]
)
def test_a_task_without_a_failed_test_is_an_alert_of_its_own(settings: Settings, tests: object) -> None:
    (alert,) = callbacks.alerts_of(context("build", tests, RuntimeError("no space")), settings, NOW)
    assert (alert.key, alert.details) == ("task_failed:d/build", ("RuntimeError: no space",))
    assert alert.run_url.endswith("/dags/d/runs/r/tasks/build")


@pytest.mark.servers
def test_a_channel_gets_the_notices_and_the_mail(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that resolves needs the kind and the key; the key is the same at the start and at the end."""
    received: list[tuple[str, str, str]] = []

    def pager(notices: Sequence[Notice], mail: Mail) -> None:
        received.extend((notice.kind, notice.alert.key, notice.alert.severity) for notice in notices)
        assert mail.subject.endswith("1 new, 1 over: error: A task failed, ...")

    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "send_mail", lambda *_: None)
    monkeypatch.setattr(channels, "_configured", lambda _: {"Pager": pager})
    failed = OpenAlert("task_failed:d/t", "task_failed", "error", "A task failed", NOW, NOW)
    lag = OpenAlert("kafka_lag", "kafka_lag", "error", "Kafka lag is high", NOW, NOW)
    store = S3AlertStore(boto3.client("s3"), StorageSettings(bucket=bucket))
    store.save(AlertState({}, (Notice("a", "start", failed, NOW), Notice("b", "recovery", lag, NOW))), None)
    assert callbacks.deliver(store, load()) == 2
    assert received == [("start", "task_failed:d/t", "error"), ("recovery", "kafka_lag", "error")]
    assert store.load()[0].outbox == ()
