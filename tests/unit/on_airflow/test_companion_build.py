"""A task's seed, snapshot and views are built only after a change."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from include.on_airflow import companion_build, connections
from include.settings import StorageSettings
from include.transform import companions

pytestmark = pytest.mark.servers

STAGE = "silver.crypto_stage_model_build"
ALL = "assets assets_history crypto_checked"


@pytest.fixture(autouse=True)
def storage(bucket: str, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setattr(connections, "s3_client", lambda: boto3.client("s3"))
    return StorageSettings(bucket=bucket)


def run(succeeded: bool = True, **params: Any) -> tuple[str | None, str]:
    """One run of the task: the companions that dbt leaves unbuilt, and its `exclude`."""
    operator = SimpleNamespace(select=f"fqn:crypto_stage {ALL}", exclude="tag:cross_layer", env=None)
    context = {"ti": SimpleNamespace(task_id=STAGE), "params": params}
    companion_build.apply(context, operator)
    companion_build.after(context, succeeded=succeeded)
    return (operator.env or {}).get(companions.VARIABLE), operator.exclude


def test_a_second_run_builds_none_and_tests_no_seed() -> None:
    assert run() == ("", "tag:cross_layer")
    assert run() == (ALL, "tag:cross_layer path:seeds,resource_type:test")


def test_after_a_failure_the_next_run_builds_them() -> None:
    run(succeeded=False)
    assert run() == ("", "tag:cross_layer")


def test_a_full_refresh_builds_them() -> None:
    run()
    assert run(full_refresh=True) == ("", "tag:cross_layer")


def test_a_selection_builds_what_it_names_and_stores_nothing() -> None:
    assert run(select="assets") == (None, "tag:cross_layer")
    assert run() == ("", "tag:cross_layer")


def test_another_warehouse_has_its_own_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setenv("WAREHOUSE_DATABASE", "another")
    assert run() == ("", "tag:cross_layer")


def test_an_unreadable_state_builds_them(storage: StorageSettings) -> None:
    boto3.client("s3").put_object(Bucket=storage.bucket, Key=companions.key(storage, "crypto_stage"), Body=b"[")
    assert run() == ("", "tag:cross_layer")
    assert run()[0] == ALL


def test_a_table_without_companions_is_left_alone() -> None:
    operator = SimpleNamespace(select="fqn:crypto_raw", exclude="tag:cross_layer", env=None)
    companion_build.apply({"ti": SimpleNamespace(task_id="bronze.crypto_raw_model_build"), "params": {}}, operator)
    assert operator.env is None
