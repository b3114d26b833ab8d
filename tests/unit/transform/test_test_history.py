"""The results of dbt become JSON lines in S3."""

from __future__ import annotations

import json

import boto3
import pytest

from include.settings import StorageSettings
from include.transform import test_history
from include.transform.run_results import from_artifacts
from tests.unit.transform.artifacts import INVOCATION_ID, MANIFEST, RUN_RESULTS

INVOCATION = from_artifacts(RUN_RESULTS, MANIFEST)


def test_each_test_of_an_invocation_becomes_a_row() -> None:
    rows = test_history.rows(INVOCATION, "crypto_transform", "manual__1")
    assert [(row.name, row.layer, row.model, row.severity, row.status, row.failures) for row in rows] == [
        ("not_null_crypto_raw_id", "bronze", "crypto_raw", "error", "pass", 0),
        ("price_in_range_crypto_raw", "bronze", "crypto_raw", "warn", "warn", 3),
        ("assert_nothing_is_lost", "cross_layer", "crypto_raw,crypto_stage", "error", "skipped", 0),
    ]
    assert {row.executed_at for row in rows} == {"2026-11-23T14:30:00Z"}
    assert {row.invocation_id for row in rows} == {INVOCATION_ID}
    assert rows[0].execution_seconds == 0.123


@pytest.mark.servers
def test_an_invocation_is_a_file_with_one_line_for_each_test(bucket: str) -> None:
    s3, storage = boto3.client("s3"), StorageSettings(bucket=bucket)
    key = test_history.write(s3, storage, test_history.rows(INVOCATION, "dag", "run"))
    assert key == f"test_history/2026/11/23/{INVOCATION_ID}.json"
    lines = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode().splitlines()
    assert len(lines) == 3
    assert set(json.loads(lines[0])) == {
        "invocation_id",
        "run_id",
        "dag_id",
        "executed_at",
        "layer",
        "node_id",
        "name",
        "model",
        "severity",
        "status",
        "failures",
        "execution_seconds",
        "message",
    }
    assert test_history.write(s3, storage, []) is None


def test_a_failure_to_write_the_history_is_only_logged(
    s3: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = StorageSettings(bucket="no-such-bucket")
    test_history.keep(boto3.client("s3"), nowhere, test_history.rows(INVOCATION, "dag", "run"))
    # The line is in one of the two outputs, because Airflow may have set up logging already.
    assert "the test history of this invocation is not kept" in caplog.text + "".join(capfd.readouterr())
