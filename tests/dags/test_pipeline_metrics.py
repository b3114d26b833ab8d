"""The route of the metrics for Prometheus: who may read it, and what it answers while S3 cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NoReturn

import boto3
import pytest
from airflow.api_fastapi.app import init_auth_manager, purge_cached_app
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError
from fastapi.testclient import TestClient
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from include.monitoring.alerts.model import AlertState, OpenAlert
from include.monitoring.alerts.store import S3AlertStore
from include.monitoring.prometheus import names
from include.on_airflow import connections
from include.settings import StorageSettings
from include.state import json_object, judged, monitor_numbers
from include.state.judged import Judged, JudgedConditions
from include.state.monitor_numbers import MonitorNumbers, Number
from plugins.pipeline_health import PipelineHealthPlugin

pytestmark = pytest.mark.servers

Headers = dict[str, str]


@pytest.fixture
def storage(bucket: str, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    """State objects of a monitor that has run now; uploads fail, and nothing is known about the throughput."""
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "page_s3_client", lambda: boto3.client("s3"))
    s3, storage, now = boto3.client("s3"), StorageSettings(bucket=bucket), datetime.now(UTC)
    numbers = (Number("SumOffsetLag", 12.0), Number("DataAge", 20.5, "gold"), Number("QuarantineShare", 5.0))
    monitor_numbers.write(s3, storage, MonitorNumbers(now, numbers, {"kafka_lag": 1000.0}))
    verdicts = {"kafka_lag": Judged("ok", "12"), "low_throughput": Judged("unknown", "the monitor has just started")}
    judged.write(s3, storage, JudgedConditions(now, verdicts))
    alert = OpenAlert("upload_errors", "upload_errors", "error", "Uploads to S3 fail", now, now)
    S3AlertStore(s3, storage).save(AlertState({alert.key: alert}, ()), None)
    return storage


@pytest.fixture
def client() -> TestClient:
    """A client of the app that the plugin mounts."""
    [mounted] = PipelineHealthPlugin().fastapi_apps
    return TestClient(mounted["app"])


def token(role: str | None) -> Headers:
    """The header with which Prometheus sends a token that Airflow has issued."""
    user = SimpleAuthManagerUser(username="prometheus", role=role)
    return {"Authorization": f"Bearer {init_auth_manager().generate_jwt(user)}"}


@pytest.fixture
def viewer(airflow_db: None) -> Iterator[Headers]:
    """The token of a user who may see the Airflow UI."""
    yield token("VIEWER")
    purge_cached_app()


@pytest.fixture
def stranger(airflow_db: None) -> Iterator[Headers]:
    """The token of a user who has no role."""
    yield token(None)
    purge_cached_app()


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_without_a_token_the_metrics_are_not_shown(client: TestClient, storage: StorageSettings) -> None:
    response = client.get("/metrics")
    assert response.status_code == 401
    assert "crypto_lakehouse" not in response.text


def test_a_user_without_a_role_may_not_read_the_metrics(
    client: TestClient, storage: StorageSettings, stranger: Headers
) -> None:
    response = client.get("/metrics", headers=stranger)
    assert response.status_code == 403
    assert "crypto_lakehouse" not in response.text


def test_a_token_of_nobody_is_refused(client: TestClient, viewer: Headers) -> None:
    response = client.get("/metrics", headers={"Authorization": viewer["Authorization"][:-8]})
    assert response.status_code == 403


def test_a_viewer_s_token_gets_the_state_as_prometheus_reads_it(
    client: TestClient, storage: StorageSettings, viewer: Headers
) -> None:
    response = client.get("/metrics", headers=viewer)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    found = families(response.text)
    assert found.keys() == names.every_series().keys()
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in found.values()
        for sample in family.samples
    }
    here = ("environment", "production")
    assert samples["crypto_lakehouse_sum_offset_lag", here] == 12
    assert samples["crypto_lakehouse_data_age_seconds", here, ("layer", "gold")] == 20.5
    assert samples["crypto_lakehouse_quarantine_share_ratio", here] == 0.05
    assert samples[names.THRESHOLD, ("condition", "kafka_lag"), here] == 1000
    conditions = {sample.labels["condition"]: sample.value for sample in found[names.CONDITION].samples}
    assert conditions == {"kafka_lag": 0, "upload_errors": 1, "monitor_silent": 0, "task_failed": 0, "run_late": 0}
    assert [sample.labels["key"] for sample in found[names.ALERT].samples] == ["upload_errors"]


def test_a_broken_object_hides_no_other(client: TestClient, storage: StorageSettings, viewer: Headers) -> None:
    json_object.write(boto3.client("s3"), storage.bucket, monitor_numbers.key(storage), {"at": 7})
    found = families(client.get("/metrics", headers=viewer).text)
    assert [sample.value for sample in found[names.UNREADABLE].samples] == [1]
    assert not found["crypto_lakehouse_sum_offset_lag"].samples
    assert found[names.CONDITION].samples


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject"), "AccessDenied: no"),
        (AirflowException("the connection `aws_default` isn't defined"), "AirflowException: the connection"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_scrape_fails_while_s3_cannot_be_read(
    client: TestClient,
    storage: StorageSettings,
    viewer: Headers,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: str,
) -> None:
    def connect() -> NoReturn:
        raise error

    monkeypatch.setattr(connections, "page_s3_client", connect)
    response = client.get("/metrics", headers=viewer)
    assert response.status_code == 503
    assert response.text.startswith(f"no metrics: {told}")


def test_an_invalid_setting_fails_the_scrape_with_its_name(
    client: TestClient, viewer: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_STATE_PREFIX", "/state")
    response = client.get("/metrics", headers=viewer)
    assert response.status_code == 503
    assert "S3_STATE_PREFIX" in response.text
