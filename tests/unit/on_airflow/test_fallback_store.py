"""The alert state is kept in S3 only if S3 can be read and written."""

from __future__ import annotations

import boto3
import pytest

from include.monitoring.alerts.store import S3AlertStore
from include.on_airflow.fallback_store import VariableAlertStore, store_in_force
from include.settings import StorageSettings
from tests.unit.refusing_s3 import s3_that_refuses

pytestmark = pytest.mark.servers


def test_an_s3_that_can_be_read_and_written_keeps_the_state(bucket: str) -> None:
    primary = S3AlertStore(boto3.client("s3"), StorageSettings(bucket=bucket))
    assert store_in_force(primary) == (primary, "")


@pytest.mark.parametrize("operation", ["GetObject", "PutObject"])
def test_an_s3_that_refuses_reads_or_writes_does_not_keep_the_state(bucket: str, operation: str) -> None:
    store, fault = store_in_force(S3AlertStore(s3_that_refuses(operation), StorageSettings(bucket=bucket)))
    assert isinstance(store, VariableAlertStore)
    assert "AccessDenied" in fault
