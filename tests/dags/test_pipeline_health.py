"""What the page shows of the state objects in S3; the page in a running Airflow is in test_alerts.py."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config
from fastapi.testclient import TestClient

from include.settings import StorageSettings, load
from include.watch import health, lag_window, layer_state, state_objects, task_tests
from include.watch.alert_state import S3AlertStore
from include.watch.alerts import AlertState, Notice, OpenAlert
from include.watch.lag import Sample
from include.watch.lag_window import LagWindow
from include.watch.layer_state import FailingTest, LayerState, LayerTests, Run
from include.watch.notices import PLACES
from include.watch.task_tests import TaskTests
from plugins.pipeline_health import PipelineHealthPlugin
from plugins.pipeline_health.page import create_app, render

pytestmark = pytest.mark.servers

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALERT = OpenAlert(
    key="kafka_lag",
    condition="kafka_lag",
    severity="error",
    title="Kafka lag is <high>",
    since=NOW - timedelta(hours=3),
    notified_at=NOW,
    value="1,234",
    threshold="> 1,000, catalogue",
    run_url="javascript:alert(1)",
)


@pytest.fixture
def storage(bucket: str, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    monkeypatch.setenv("S3_BUCKET", bucket)
    return StorageSettings(bucket=bucket)


def page(variable: str | None = None, at: datetime = NOW, **client: object) -> str:
    s3 = boto3.client("s3", **client)  # type: ignore[call-overload]
    settings = load()
    return render(health.collect(s3, settings, variable, at), settings.alert)


def test_who_is_not_logged_in_sees_nothing() -> None:
    answer = TestClient(create_app()).get("/")
    assert answer.status_code == 401
    assert "Pipeline" not in answer.text


def test_mails_link_to_where_airflow_shows_the_page() -> None:
    assert PLACES["Pipeline Health"] == f"/plugin/{PipelineHealthPlugin.external_views[0]['url_route']}"


def test_before_the_first_run_nothing_is_claimed(storage: StorageSettings) -> None:
    shown = page()
    assert shown.count("never built") == 3
    assert "The monitor has not looked yet." in shown
    assert "not landed" not in shown


def test_layers_lag_and_alerts_are_shown_and_texts_are_escaped(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    run = Run("crypto_transform", "r", "http://airflow.test/r")
    gold = LayerState("gold", "crypto_curated", 1234, NOW - timedelta(hours=3), NOW - MINUTE, LayerTests(20, 1, 2), run)
    layer_state.write(s3, storage, gold)
    older = LayerTests(70, 0, 1, (FailingTest("assert_old_rows_add_up", "error", 3, "Got 3 results"),))
    task_tests.write(s3, storage, TaskTests("lakehouse_maintenance.test_all_rows", NOW - MINUTE, older, run))
    samples = {0: [Sample(NOW - MINUTE, 500, 7)], 1: [Sample(NOW - MINUTE, 600, 3)]}
    lag_window.write(s3, storage, LagWindow(samples, [(NOW - MINUTE, NOW - 11 * MINUTE)]))
    waiting = Notice("n", "start", ALERT, NOW, attempts=1, last_error="refused")
    S3AlertStore(s3, storage).save(AlertState({ALERT.key: ALERT}, (waiting,)), None)
    shown = page('{"stale_gold": 14400}')
    assert "1,234" in shown
    assert "3 h old (at most 4 h)" in shown
    assert re.search(r"20 passed, <.*>1 warned</span>, <.*>2 failed</span>", shown)
    assert re.search(
        r"test_all_rows</td>.*70 passed, <.*>1 failed</span>.*assert_old_rows_add_up, since", shown, re.DOTALL
    )
    assert "10 messages not landed, the oldest 10 min old" in shown
    assert "Kafka lag is &lt;high&gt;" in shown
    assert "javascript:" not in shown
    assert "no mail server has taken yet: 1." in shown
    assert "Variable monitor_thresholds" in shown
    assert "The monitor has not read Kafka for" not in shown
    assert "The monitor has not read Kafka for 24 h" in page(at=NOW + timedelta(hours=24))


def test_what_cannot_be_read_is_unknown_and_says_why(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    state_objects.write(s3, storage.bucket, lag_window.key(storage), {"samples": 7})
    shown = page("{")
    assert "Cannot be read: lag. StateUnreadableError" in shown
    assert "Cannot be read: thresholds. Variable monitor_thresholds is not JSON" in shown
    assert "not landed" not in shown
    away = page(endpoint_url="http://127.0.0.1:1", config=Config(retries={"total_max_attempts": 1}))
    for what in ("layers", "tests outside the layers", "lag", "alerts"):
        assert f"Cannot be read: {what}. EndpointConnectionError" in away
    assert away.count("Unknown.") == 3


def test_secrets_in_an_alert_are_not_shown(storage: StorageSettings) -> None:
    alert = replace(ALERT, value="postgresql://airflow:hunter2@db refused")
    S3AlertStore(boto3.client("s3"), storage).save(AlertState({alert.key: alert}), None)
    assert "hunter2" not in page()
