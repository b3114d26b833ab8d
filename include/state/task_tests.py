"""What the last run of a dbt task outside the layers said about its tests.

Tests across layers, of seeds, of the test history, and the daily ones over every row belong
to no layer's build. Each such task leaves one object, `state/tests/<dag>.<task>.json`,
which the monitor counts beside the layers' (`layer_state`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from include.instants import from_text, to_text
from include.settings import StorageSettings
from include.state import json_object
from include.state.layer_state import LayerTests, Run, with_since

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EVERY_ROW = "lakehouse_maintenance.test_all_rows"
"""Its warnings are shown and do not alert: a row that was told of when it came stays as it is, for ever."""


@dataclass(frozen=True, slots=True)
class TaskTests:
    """The tests of one task after its last run; `task` is `dag_id.task_id`."""

    task: str
    finished_at: datetime
    tests: LayerTests
    run: Run

    def to_json(self) -> dict[str, Any]:
        """The object's content; times are ISO 8601, UTC."""
        return {
            "task": self.task,
            "finished_at": to_text(self.finished_at),
            "tests": self.tests.to_json(),
            "run": self.run.to_json(),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            StateUnreadableError: a field is missing or has another type.
        """
        try:
            return cls(
                task=content["task"],
                finished_at=from_text(content["finished_at"]),
                tests=LayerTests.from_json(content["tests"]),
                run=Run(**content["run"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise json_object.StateUnreadableError(
                f"a task's tests are not readable ({type(error).__name__}: {error}); its next run writes them anew"
            ) from error


def prefix(storage: StorageSettings) -> str:
    """Where the objects are."""
    return f"{storage.state_prefix}tests/"


def key(storage: StorageSettings, task: str) -> str:
    """Key of the object of `task` (`dag_id.task_id`)."""
    return f"{prefix(storage)}{task}.json"


def read_all(s3: S3Client, storage: StorageSettings) -> list[TaskTests]:
    """What every such task left, by its name.

    Raises:
        StateUnreadableError: an object is there but broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=storage.bucket, Prefix=prefix(storage))
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    states = (json_object.read_as(s3, storage.bucket, key, TaskTests.from_json) for key in keys)
    return [found for found in states if found is not None]


def write(s3: S3Client, storage: StorageSettings, state: TaskTests) -> None:
    """Write what the task left, if it has or had tests; `since` of a test that failed before is carried over.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    where = key(storage, state.task)
    try:
        found = json_object.read_as(s3, storage.bucket, where, TaskTests.from_json)
        before = found.tests if found else None
    except json_object.StateUnreadableError:
        before = None  # it is written anew
    if before is None and state.tests == LayerTests():
        return  # it runs no tests
    written = replace(state, tests=with_since(state.tests, before, state.finished_at))
    json_object.write(s3, storage.bucket, where, written.to_json())
