"""A full refresh on Athena's engine: beside the old table, day by day, and on from where a killed attempt ended.

The tests have a lake of their own. They run in order. REBUILD_DAYS=400 tries more days.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from dbt.cli.main import dbtRunner
from obstore.store import S3Store

from include.on_airflow.rebuild_progress import LINE
from tests.athena import rig
from tests.athena.gateway import Query
from tests.athena.rig import AthenaWarehouse
from tests.warehouse.landed_topic import LandedTopic, open_bucket, quote
from tests.warehouse.warehouse import DBT_PROJECT, environment

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(4000)]

DAYS = int(os.environ.get("REBUILD_DAYS", "14"))
KILLED_AFTER = DAYS // 2
"""Queries of the killed attempt."""
PER_DAY = 4
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FIRST = TODAY - timedelta(days=DAYS - 1)
LAKE = "rebuilt"
ROWS = f"select count(*), count(distinct record_id), count(distinct source_file) from {LAKE}_bronze.crypto_raw"
ALL_ROWS = (DAYS + 1) * PER_DAY
OPEN_DAYS = 10
"""Days that a second attempt reads again, because files could still land when the first began."""
BRONZE_AND_SILVER = ("run", "--select", "path:models/bronze", "path:models/silver")


@pytest.fixture(scope="module")
def warehouse(
    athena_warehouse: AthenaWarehouse, aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> AthenaWarehouse:
    bucket, folder = f"rebuilt-{os.getpid()}", tmp_path_factory.mktemp("rebuilt")
    rig.deploy_lake(bucket, aws_endpoint, LAKE, TODAY - FIRST + timedelta(days=60))
    return replace(athena_warehouse, folder=folder, artifacts=folder / "target", bucket=bucket, lake=LAKE)


@pytest.fixture(scope="module")
def topic() -> LandedTopic:
    """A file of four records a day."""
    return LandedTopic(cell=PER_DAY)


@pytest.fixture(scope="module")
def store(warehouse: AthenaWarehouse, aws_endpoint: str) -> S3Store:
    return open_bucket(warehouse.bucket, aws_endpoint)


def send(topic: LandedTopic, partition: int, day: datetime) -> None:
    """A file of the day. No two partitions have the same quote."""
    for n in range(PER_DAY):
        at = day + timedelta(hours=n, minutes=partition)
        topic.send(quote("ETH", 3000.0 + n, at), at, partition)


def loads(warehouse: AthenaWarehouse, first: int) -> list[Query]:
    """Queries since the `first` that load a part of a rebuild."""
    queries = list(warehouse.athena_api.queries.values())[first:]
    return [query for query in queries if re.search(r"merge into \S+__rebuild_", query.sql)]


def tables(aws_endpoint: str) -> list[str]:
    glue = boto3.client("glue", endpoint_url=aws_endpoint)
    return sorted(table["Name"] for table in glue.get_tables(DatabaseName=f"{LAKE}_bronze")["TableList"])


def data_folders(warehouse: AthenaWarehouse) -> set[str]:
    """The folders that hold data of the table."""
    s3 = boto3.client("s3", endpoint_url=warehouse.endpoint)
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=warehouse.bucket, Prefix=f"warehouse/{LAKE}_bronze/crypto_raw/"
    )
    return {item["Key"].split("/")[3] for page in pages for item in page.get("Contents", [])}


@pytest.fixture
def attempt(warehouse: AthenaWarehouse, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A rebuild in a process of its own."""
    command = [sys.executable, "-m", "dbt.cli.main", "--log-path", str(tmp_path), "run", "--full-refresh"]
    command += ["--select", "crypto_raw"]
    command += ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    command += ["--target-path", str(warehouse.artifacts)]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | warehouse.variables(), stdout=output, stderr=subprocess.STDOUT
        )
        yield process
        process.kill()
        process.wait()


def test_a_killed_rebuild_leaves_the_old_table(
    warehouse: AthenaWarehouse, topic: LandedTopic, store: S3Store, request: pytest.FixtureRequest
) -> None:
    for n in range(DAYS):
        send(topic, 0, FIRST + n * timedelta(days=1))
    topic.land(store)
    warehouse.dbt("seed")
    warehouse.dbt(*BRONZE_AND_SILVER)
    before = warehouse.query(ROWS)
    assert before == [(DAYS * PER_DAY, DAYS * PER_DAY, DAYS)]
    first = len(warehouse.athena_api.queries)
    attempt: subprocess.Popen[bytes] = request.getfixturevalue("attempt")
    while len(loads(warehouse, first)) < KILLED_AFTER:
        assert attempt.poll() is None, "the rebuild ended before it could be killed"
        time.sleep(0.1)
    attempt.kill()
    attempt.wait()
    assert warehouse.query(ROWS) == before


def test_an_ordinary_run_loads_into_the_old_table(
    warehouse: AthenaWarehouse, topic: LandedTopic, store: S3Store
) -> None:
    """The file lands late: the killed attempt has read its day, or would have."""
    late = TODAY - timedelta(days=7)
    send(topic, 1, late)
    topic.land(store)
    with environment({"WAREHOUSE_LANDED_HOURS": f"{late:%Y/%m/%d}/00..{late:%Y/%m/%d}/23"}):
        warehouse.dbt(*BRONZE_AND_SILVER)
    assert warehouse.query(ROWS) == [(ALL_ROWS, ALL_ROWS, DAYS + 1)]


def test_the_next_attempt_goes_on_and_loses_nothing(
    warehouse: AthenaWarehouse, aws_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []

    def note(event: Any) -> None:
        lines.append(event.info.msg)

    monkeypatch.setattr("tests.warehouse.warehouse.dbtRunner", partial(dbtRunner, callbacks=[note]))
    first, old = len(warehouse.athena_api.queries), data_folders(warehouse)
    warehouse.dbt("run", "--select", "crypto_raw", "--full-refresh")
    assert warehouse.query(ROWS) == [(ALL_ROWS, ALL_ROWS, DAYS + 1)]
    assert warehouse.query(f"select count(distinct loaded_at) from {LAKE}_bronze.crypto_raw") == [(2,)]
    assert len(loads(warehouse, first)) <= max(DAYS - KILLED_AFTER, OPEN_DAYS) + 3 < DAYS
    progress = [match.groups() for match in map(LINE.fullmatch, lines) if match]
    assert len(progress) == len(loads(warehouse, first)) + 1
    assert progress[-1][1] == progress[-1][2] == str(DAYS + 3)  # two queries for the 60 days before, one for tomorrow
    assert tables(aws_endpoint) == ["crypto_dead_letter", "crypto_raw"]
    assert len(old) == 2
    assert len(data_folders(warehouse) & old) == len(data_folders(warehouse)) == 1


def test_silver_takes_no_row_of_the_rebuilt_bronze_for_a_duplicate(warehouse: AthenaWarehouse) -> None:
    """Silver's last load is later than the rebuild's first, so silver cannot tell that bronze was rebuilt."""
    counts = f"select (select count(*) from {LAKE}_silver.crypto_stage), count(*) from {LAKE}_silver.crypto_quarantine"
    before = warehouse.query(counts)
    warehouse.dbt(*BRONZE_AND_SILVER)
    assert warehouse.query(counts) == before == [(ALL_ROWS, 0)]
