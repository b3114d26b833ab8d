"""The settings, and the bucket that version 0.1.0 left."""

from __future__ import annotations

from typing import Any

import pytest

from include.settings import Settings, load
from tests.compatibility.bucket import S3, Bucket, stored


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("S3_BUCKET", "lake")
    monkeypatch.setenv("ALERT_AIRFLOW_URL", "http://airflow.example.com:8080")
    return load()


@pytest.fixture
def bucket() -> Bucket:
    return stored("plain")


@pytest.fixture
def s3(bucket: Bucket) -> Any:
    return S3(bucket)
