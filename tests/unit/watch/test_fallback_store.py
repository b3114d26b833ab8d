"""When the alert state is kept in S3, and when not."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from include.settings import StorageSettings
from include.watch.alert_state import S3AlertStore
from include.watch.fallback_store import VariableAlertStore, store_in_force

pytestmark = pytest.mark.servers


def denied(**_: Any) -> None:
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no s3:PutObject"}}, "PutObject")


def test_an_s3_that_can_be_read_and_written_keeps_it(bucket: str) -> None:
    primary = S3AlertStore(boto3.client("s3"), StorageSettings(bucket=bucket))
    assert store_in_force(primary) == (primary, "")


@pytest.mark.parametrize("operation", ["GetObject", "PutObject"])
def test_an_s3_that_refuses_reading_or_writing_does_not(bucket: str, operation: str) -> None:
    s3 = boto3.client("s3")
    s3.meta.events.register(f"before-call.s3.{operation}", denied)
    store, why = store_in_force(S3AlertStore(s3, StorageSettings(bucket=bucket)))
    assert isinstance(store, VariableAlertStore)
    assert "AccessDenied" in why
