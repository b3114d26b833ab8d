"""The files of `test_history/` become pass rate, failing since and flaky."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from include.settings import StorageSettings
from include.transform import test_history
from tests.warehouse.warehouse import Warehouse

pytestmark = pytest.mark.servers

NAME = "crypto_stage_price_in_range"
FIRST = datetime(2026, 1, 1, 22, tzinfo=UTC)
HEALTH = f"""
    select last_status, failing_since, last_pass_at, cast(runs as integer), round(pass_rate, 3), changes, is_flaky
    from lake_monitoring.test_health where name = '{NAME}'
"""


def hour(number: int) -> datetime:
    """The time of the n-th run in the warehouse; from the third on it is the next day."""
    return (FIRST + timedelta(hours=number)).replace(tzinfo=None)


def test_a_test_fails_recovers_and_becomes_flaky(
    built_warehouse: Callable[[Path], Warehouse], tmp_path: Path, s3: str, bucket: str
) -> None:
    warehouse = replace(built_warehouse(tmp_path / "warehouse"), bucket=bucket)

    def results() -> list[test_history.TestRun]:
        warehouse.dbt("test", "--select", NAME, artifacts=True)
        return warehouse.test_runs("crypto_transform", "scheduled__1")

    def health_after(*runs: Sequence[test_history.TestRun]) -> list[tuple[object, ...]]:
        """Write a file for each run, an hour after the one before, and let dbt load the new files."""
        for tests in runs:
            number = len(written)
            when = (FIRST + timedelta(hours=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
            dated = [replace(test, invocation_id=f"run-{number}", executed_at=when) for test in tests]
            written.append(test_history.write(boto3.client("s3"), StorageSettings(bucket=bucket), dated))
        warehouse.dbt("build", "--select", "tag:monitoring", "--exclude", "resource_type:unit_test")
        return warehouse.query(HEALTH)

    written: list[str | None] = []
    passed = results()
    warehouse.execute("update lake_silver.crypto_stage set price = 0 where symbol = 'XRP'")
    failed = results()
    assert [test.status for test in passed + failed] == ["pass", "fail"]

    assert health_after(passed, failed) == [("fail", hour(1), hour(0), 2, 0.5, 1, False)]
    assert health_after(failed) == [("fail", hour(1), hour(0), 3, 0.333, 1, False)]
    assert health_after(passed, failed, passed) == [("pass", None, hour(5), 6, 0.5, 4, True)]
    origin = "select distinct layer, model, severity, dag_id, status, failures > 0 from lake_monitoring.test_run"
    assert warehouse.query(f"{origin} order by status") == [
        ("silver", "crypto_stage", "error", "crypto_transform", "fail", True),
        ("silver", "crypto_stage", "error", "crypto_transform", "pass", False),
    ]
