"""A full refresh of bronze in the DAG: its progress in S3, and its time limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import airflow.sdk
import boto3
import pytest

from include.on_airflow import connections, rebuild_progress
from include.settings import StorageSettings
from include.state import rebuild

pytestmark = pytest.mark.servers

LINE = "crypto_raw: rebuild, 214 of 400 queries done, files until 2026-03-01 00:00:00"


@pytest.fixture(autouse=True)
def storage(bucket: str, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    run = SimpleNamespace(dag_id="crypto_transform", run_id="manual__1")
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    monkeypatch.setattr(airflow.sdk, "get_current_context", lambda: {"dag_run": run})
    return StorageSettings(bucket=bucket)


def event(text: str) -> Any:
    return SimpleNamespace(info=SimpleNamespace(msg=text))


def test_the_progress_that_dbt_logs_is_kept(storage: StorageSettings) -> None:
    rebuild_progress.keep(event(LINE))
    kept = rebuild.read(boto3.client("s3"), storage, "crypto_raw")
    assert kept is not None
    assert (kept.done, kept.of, kept.files_until) == (214, 400, datetime(2026, 3, 1, tzinfo=UTC))
    assert kept.run.run_id == "manual__1"


def test_another_line_of_the_log_is_no_progress(storage: StorageSettings) -> None:
    rebuild_progress.keep(event("crypto_raw: 400 rows have replaced 400"))
    assert rebuild.read(boto3.client("s3"), storage, "crypto_raw") is None


def test_without_s3_the_rebuild_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("S3_BUCKET", "there-is-no-such-bucket")
    rebuild_progress.keep(event(LINE))
    assert "the rebuild goes on" in caplog.text


@pytest.mark.parametrize(("full_refresh", "limit"), [(False, timedelta(minutes=30)), (True, timedelta(hours=2))])
def test_a_full_refresh_may_take_the_whole_run(full_refresh: bool, limit: timedelta) -> None:
    task = SimpleNamespace(execution_timeout=timedelta(minutes=30))
    context: Any = {
        "task": task,
        "dag": SimpleNamespace(dagrun_timeout=timedelta(hours=2), params={"full_refresh": False}),
        "dag_run": SimpleNamespace(conf={}),
        "params": {"full_refresh": full_refresh},
    }
    rebuild_progress.allow_whole_run(context)
    assert task.execution_timeout == limit
