"""Nodes without a task of their own: seed, snapshot and views are built by the task of a table.

A task costs a second, and these nodes change only with the code. So a scheduled run builds one only if its digest
differs from that of its last successful build (`state/built_with/TABLE.json`), or if the warehouse lacks it (macro
`build_if_changed`). Tests of views run each time, tests of the seed only when the seed is built.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from include.settings import DBT_PROJECT, StorageSettings, WarehouseSettings, load_group
from include.state import json_object
from include.transform.manifest import content_digest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

VIEWS: Mapping[str, tuple[str, ...]] = {
    "crypto_stage": ("crypto_checked",),
    "crypto_curated": ("kpi_correlation", "kpi_daily", "kpi_data_quality", "kpi_latest_price"),
}
"""Table -> views of its layer that its task builds too."""
REFERENCE: Mapping[str, tuple[str, ...]] = {"crypto_stage": ("assets", "assets_history")}
"""Table -> seed and snapshot that its task builds before it."""
REFERENCE_FOLDERS = ("seeds", "snapshots")
REFERENCE_TESTS = "path:seeds,resource_type:test"
"""dbt's selection of the seed's tests."""
VARIABLE = "WAREHOUSE_UNCHANGED"
"""Environment variable with the names that dbt need not build, separated by blanks."""

log = logging.getLogger(__name__)


def of(table: str) -> tuple[str, ...]:
    """The other nodes of the table's task."""
    return REFERENCE.get(table, ()) + VIEWS.get(table, ())


def models(table: str) -> tuple[str, ...]:
    """The models that the table's task builds: the table and its views."""
    return (*VIEWS.get(table, ()), table)


def digests(table: str) -> dict[str, str]:
    """The digest of each companion. A view's changes with any file of the dbt project, the others' with their files.

    Each changes with the warehouse: another target or database has its own tables.
    """
    place = _place()
    code = content_digest(DBT_PROJECT, place)
    parts = [content_digest(DBT_PROJECT / folder, place) for folder in REFERENCE_FOLDERS]
    reference = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
    return dict.fromkeys(REFERENCE.get(table, ()), reference) | dict.fromkeys(VIEWS.get(table, ()), code)


def _place() -> str:
    warehouse = load_group(WarehouseSettings)
    return f"{warehouse.target} {warehouse.database} {warehouse.duckdb_path}"


def unchanged(s3: S3Client, storage: StorageSettings, table: str) -> list[str]:
    """The companions whose digest is that of their last successful build.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    try:
        stored = json_object.read(s3, storage.bucket, key(storage, table), dict[str, str], "it is written again")
    except json_object.StateUnreadableError as error:
        log.warning("seed, snapshot and views are built again: %s", error)
        stored = None
    built = stored[0] if stored else {}
    return [name for name, digest in digests(table).items() if built.get(name) == digest]


def write(s3: S3Client, storage: StorageSettings, table: str, built: Mapping[str, str]) -> None:
    """Store the digests, as they were before the build, after all companions of the table were built."""
    json_object.write(s3, storage.bucket, key(storage, table), dict(built))


def key(storage: StorageSettings, table: str) -> str:
    """Key of the table's object."""
    return f"{storage.state_prefix}built_with/{table}.json"
