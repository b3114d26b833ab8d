"""From dbt's run_results.json to JSON lines in S3."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from include.settings import StorageSettings
from include.watch import test_history

INVOCATION = "0d0c9b1e-0000-4000-8000-000000000001"
RUN_RESULTS: dict[str, Any] = {
    "metadata": {"generated_at": "2026-11-23T14:30:00.123456Z", "invocation_id": INVOCATION},
    "results": [
        {"unique_id": "model.lake.crypto_raw", "status": "success", "execution_time": 1.0},
        {
            "unique_id": "test.lake.not_null_crypto_raw_id.abc",
            "status": "pass",
            "failures": 0,
            "execution_time": 0.1234,
        },
        {
            "unique_id": "test.lake.price_in_range_crypto_raw.def",
            "status": "warn",
            "failures": 3,
            "message": "Got 3 results",
            "execution_time": 0.2,
        },
        {"unique_id": "test.lake.assert_nothing_is_lost", "status": "skipped", "failures": None, "message": None},
    ],
}
MANIFEST: dict[str, Any] = {
    "nodes": {
        "model.lake.crypto_raw": {"name": "crypto_raw", "path": "bronze/crypto_raw.sql"},
        "model.lake.crypto_stage": {"name": "crypto_stage", "path": "silver/crypto_stage.sql"},
        "test.lake.not_null_crypto_raw_id.abc": {
            "attached_node": "model.lake.crypto_raw",
            "config": {"severity": "ERROR"},
        },
        "test.lake.price_in_range_crypto_raw.def": {
            "attached_node": "model.lake.crypto_raw",
            "config": {"severity": "warn"},
        },
        "test.lake.assert_nothing_is_lost": {
            "attached_node": None,
            "depends_on": {"nodes": ["model.lake.crypto_raw", "model.lake.crypto_stage"]},
            "config": {"severity": "ERROR"},
        },
    }
}


def test_rows() -> None:
    found = test_history.rows(RUN_RESULTS, MANIFEST, "crypto_transform", "manual__1")
    assert [(one.name, one.layer, one.model, one.severity, one.status, one.failures) for one in found] == [
        ("not_null_crypto_raw_id", "bronze", "crypto_raw", "error", "pass", 0),
        ("price_in_range_crypto_raw", "bronze", "crypto_raw", "warn", "warn", 3),
        ("assert_nothing_is_lost", "cross_layer", "crypto_raw,crypto_stage", "error", "skipped", 0),
    ]
    assert {one.executed_at for one in found} == {"2026-11-23T14:30:00Z"}
    assert {one.invocation_id for one in found} == {INVOCATION}
    assert found[0].execution_seconds == 0.123


@pytest.mark.servers
def test_one_file_an_invocation_with_one_line_a_test(bucket: str) -> None:
    s3, storage = boto3.client("s3"), StorageSettings(bucket=bucket)
    key = test_history.write(s3, storage, test_history.rows(RUN_RESULTS, MANIFEST, "dag", "run"))
    assert key == f"test_history/2026/11/23/{INVOCATION}.json"
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


def test_a_failure_to_keep_the_history_is_logged_and_raises_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def logged() -> str:  # where the line goes depends on whether Airflow has set up logging yet
        return caplog.text + "".join(capfd.readouterr())

    context = {"ti": SimpleNamespace(dag_id="dag", run_id="run")}
    test_history.keep(str(tmp_path), context)
    assert "dbt left no" in logged()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "run_results.json").write_text("{")
    (tmp_path / "target" / "manifest.json").write_text("{}")
    test_history.keep(str(tmp_path), context)
    assert "the test history of this invocation is not kept" in logged()
