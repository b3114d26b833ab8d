"""Fixtures of the warehouse tests: a landed topic, and a warehouse that reads it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from obstore.store import S3Store

from tests.warehouse.landed_topic import LandedTopic, market_day, open_bucket
from tests.warehouse.warehouse import Warehouse, environment


@pytest.fixture(scope="session")
def dbt_artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Target folder shared by all runs, so that the project is parsed once."""
    return tmp_path_factory.mktemp("dbt-target")


@pytest.fixture
def bucket(s3: str) -> Iterator[str]:
    """An empty bucket. Each test's has the same name, which dbt keeps in its saved parse."""
    name, client = "lake", boto3.client("s3")
    client.create_bucket(Bucket=name)
    yield name
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for item in page.get("Contents", []):
            client.delete_object(Bucket=name, Key=item["Key"])
    client.delete_bucket(Bucket=name)


@pytest.fixture
def store(bucket: str, s3: str) -> S3Store:
    """The test's empty bucket."""
    return open_bucket(bucket, s3)


@pytest.fixture
def warehouse(tmp_path: Path, dbt_artifacts: Path, bucket: str, s3: str) -> Warehouse:
    """An empty warehouse over the test's bucket."""
    return Warehouse(tmp_path / "warehouse", dbt_artifacts, bucket, s3)


@pytest.fixture
def today() -> datetime:
    """The current UTC hour. Waits if a day ends soon: the next load would be the first of another day."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    if midnight - now < timedelta(minutes=3):
        time.sleep((midnight - now).total_seconds())
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


@pytest.fixture(scope="session")
def built_warehouse(
    tmp_path_factory: pytest.TempPathFactory, dbt_artifacts: Path, aws_endpoint: str
) -> Callable[[Path], Warehouse]:
    """Makes copies of a warehouse with 30 hours of a faulty market; the original is built once in a session."""
    bucket = f"market-{os.getpid()}"
    with environment({"AWS_ENDPOINT_URL": aws_endpoint}):
        boto3.client("s3").create_bucket(Bucket=bucket)
        topic = LandedTopic()
        now = datetime.now(UTC)
        early = (now.hour, now.minute) < (0, 5)  # the newest file would hold a single record
        end = now - timedelta(minutes=10) if early else now
        market_day(topic, end - timedelta(hours=30), hours=30)
        topic.land(open_bucket(bucket, aws_endpoint))
    original = Warehouse(tmp_path_factory.mktemp("built"), dbt_artifacts, bucket, aws_endpoint)
    original.build()
    return original.copy
