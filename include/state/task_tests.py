"""The test results of the last run of each dbt task outside the layers.

Tests across layers, of seeds, of the test history, and the daily tests over every row belong
to no layer's build. Each task that runs such tests writes one object, `state/tests/<dag>.<task>.json`.
The monitor counts its tests in addition to those of the layers (`layer_state`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object
from include.state.dbt_tests import NO_TESTS, DbtTests
from include.state.layer_state import DagRunRef

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EVERY_ROW = "lakehouse_maintenance.test_all_rows"
"""Its warnings are shown and do not alert: such an alert would never end, because the old row stays in the table."""


class TaskTests(msgspec.Struct, frozen=True):
    """The tests of one task after its last run; `task` is `dag_id.task_id`."""

    task: str
    finished_at: Instant
    tests: DbtTests
    run: DagRunRef


def prefix(storage: StorageSettings) -> str:
    """Prefix of the objects' keys."""
    return f"{storage.state_prefix}tests/"


def key(storage: StorageSettings, task: str) -> str:
    """Key of the object of `task` (`dag_id.task_id`)."""
    return f"{prefix(storage)}{task}.json"


def read_all(s3: S3Client, storage: StorageSettings, unreadable: dict[str, str] | None = None) -> list[TaskTests]:
    """The tests of every such task, in the order of their names.

    A broken object is noted in `unreadable` (key -> fault), and left out.

    Raises:
        StateUnreadableError: an object is broken, and `unreadable` is None.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=storage.bucket, Prefix=prefix(storage))
    keys = [item["Key"] for page in pages for item in page.get("Contents", []) if item["Key"].endswith(".json")]
    states: list[TaskTests | None] = []
    for name in keys:
        with json_object.noting(unreadable, name):
            states.append(_read(s3, storage, name))
    return [state for state in states if state is not None]


def write(s3: S3Client, storage: StorageSettings, state: TaskTests) -> None:
    """Write the task's tests, unless it has and had no tests; `since` of a test that failed before is taken over.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    try:
        before = _read(s3, storage, key(storage, state.task))
    except json_object.StateUnreadableError:
        before = None  # replaced by this state
    if before is None and state.tests == NO_TESTS:
        return
    written = replace(state, tests=state.tests.dated(before.tests if before else None, state.finished_at))
    json_object.write(s3, storage.bucket, key(storage, state.task), written)


def _read(s3: S3Client, storage: StorageSettings, key: str) -> TaskTests | None:
    stored = json_object.read(s3, storage.bucket, key, TaskTests, "the next run of its task writes it again")
    return stored[0] if stored else None
