"""Pipeline Health with Airflow's connections: the daily report, and the links."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from include.on_airflow import dbt_docs, health_page
from include.settings import AlertSettings
from tests.airflow_connections import aws_connection

NOW = datetime(2026, 11, 30, 6, tzinfo=UTC)
PROJECTS = "AIRFLOW__COSMOS__DBT_DOCS_PROJECTS"


@pytest.mark.servers
def test_the_daily_report_is_in_s3(bucket: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3))
    monkeypatch.setenv("AIRFLOW_VAR_MONITOR_THRESHOLDS", '{"kafka_lag": 4321}')
    assert health_page.write_report(NOW) == f"s3://{bucket}/state/report/2026-11-30.html"
    html = boto3.client("s3").get_object(Bucket=bucket, Key="state/report/2026-11-30.html")["Body"].read().decode()
    assert "the monitor has never measured" in html
    assert "&gt; 4,321" in html
    assert "Cannot be read" not in html


def test_the_data_dictionary_has_a_link_where_airflow_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    alert = AlertSettings.model_construct(airflow_url="http://airflow.test/base/")
    monkeypatch.delenv(PROJECTS, raising=False)
    assert health_page.links(alert).dictionary == ""
    monkeypatch.setenv(PROJECTS, dbt_docs.cosmos_projects(Path("docs")))
    assert health_page.links(alert).dictionary == "http://airflow.test/base/cosmos/lakehouse/dbt_docs_index.html"
