"""The Cosmos settings of every dbt task, in one place.

Measured on two cores with seven dbt nodes: one `dbt build` for each model through dbtRunner takes
15 to 17 s in total, tests as tasks of their own 30 s, the dbt command line 44 s. So the settings
are `TestBehavior.BUILD` and `InvocationMode.DBT_RUNNER`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cosmos import (
    ExecutionConfig,
    ExecutionMode,
    InvocationMode,
    LoadMode,
    ProfileConfig,
    ProjectConfig,
    RenderConfig,
    TestBehavior,
    settings,
)

from include.on_airflow import query_cancel
from include.settings import DBT_PROJECT, WarehouseSettings, load_group
from include.transform import dbt_connection
from include.transform.manifest import manifest

DUCKDB_POOL = "duckdb"
"""One slot: DuckDB lets one process at a time open its file for writing."""

NOT_IN_LAYERS = ["tag:cross_layer", "resource_type:unit_test"]
"""Tests across layers run once, after gold: a layer cannot wait for the layers after it. Unit tests run in CI."""


def project_config() -> ProjectConfig:
    """The dbt project with its manifest."""
    return ProjectConfig(dbt_project_path=DBT_PROJECT, manifest_path=manifest(), install_dbt_deps=False)


def profile_config() -> ProfileConfig:
    """The profile in the project's own `profiles.yml`; WAREHOUSE_TARGET chooses the target."""
    return ProfileConfig(
        profile_name=dbt_connection.PROFILE,
        target_name=load_group(WarehouseSettings).target,
        profiles_yml_filepath=dbt_connection.PROFILES,
    )


def execution_config() -> ExecutionConfig:
    """The settings with which dbt runs in the worker's own process, through dbtRunner."""
    return ExecutionConfig(execution_mode=ExecutionMode.LOCAL, invocation_mode=InvocationMode.DBT_RUNNER)


def render_config(select: list[str]) -> RenderConfig:
    """One task for each node, with its tests; without tests across layers, and without assets of models."""
    return RenderConfig(
        select=select,
        exclude=NOT_IN_LAYERS,
        load_method=LoadMode.DBT_MANIFEST,
        test_behavior=TestBehavior.BUILD,
        should_detach_multiple_parents_tests=False,
        emit_datasets=False,
        enable_mock_profile=False,
    )


def warehouse_pool() -> dict[str, Any]:
    """Task arguments that allow one warehouse task at a time, on the local target only."""
    return {"pool": DUCKDB_POOL} if load_group(WarehouseSettings).target == "local" else {}


def dbt_task_arguments() -> dict[str, Any]:
    """Arguments of every Cosmos task.

    Cosmos gives each task group its own `cache_dir` for dbt's saved parse. A task outside of groups would have no such
    folder and parse the project each time.
    """
    return {
        "callback": "include.on_airflow.test_results.keep",
        "dbt_cmd_global_flags": [
            "--log-level-file",
            "none",
        ],  # a log file would be deleted with the task's copy of the project
        "cache_dir": settings.cache_dir / "crypto_lakehouse",
        "interceptors": [query_cancel.apply],
        "execution_timeout": timedelta(minutes=30),
        **warehouse_pool(),
    }
