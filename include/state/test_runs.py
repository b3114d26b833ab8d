"""The last runs of each dbt test (`state/test_runs/DAG.TASK.json`), for the strips of Pipeline Health.

The complete history is in `test_history/`, one file for each dbt invocation: too many files to read for a page. Each
dbt task with tests keeps one small object beside it. Tests of a task that no longer exists are left out after some
days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MOST_RUNS = 24
"""Runs of a test that are kept: six hours of a run each quarter of an hour."""
FLAKY_CHANGES = 4
"""Changes between passing and failing within the kept runs that make a test flaky, as in the view `test_health`."""
FORGOTTEN_AFTER = timedelta(days=7)
"""A test that has not run for so long is not shown."""
READERS = 8
"""Objects that are read at once."""


class Run(msgspec.Struct, frozen=True, array_like=True):
    """One run of a test: its end, dbt's status (pass, warn, fail, error, skipped), and the failing rows."""

    at: Instant
    status: str
    failures: int


class TestRuns(msgspec.Struct, frozen=True):
    """One data test and its last runs, oldest first. `layer` is `cross_layer` or empty where it has no single one."""

    __test__ = False  # no test of pytest's

    name: str
    layer: str
    model: str
    severity: str
    runs: Sequence[Run]
    owner: str = ""
    url: str = ""
    """The Airflow run of the newest result."""
    task: str = ""
    """`dag_id.task_id` of the task that runs the test."""

    @property
    def newest(self) -> Run:
        """The latest result."""
        return self.runs[-1]

    @property
    def failing_since(self) -> datetime | None:
        """End of the first of the kept runs since which it has not passed; None if the newest run passed."""
        since = None
        for run in reversed([run for run in self.runs if run.status != "skipped"]):
            if run.status == "pass":
                break
            since = run.at
        return since

    @property
    def flaky(self) -> bool:
        """Whether it changes often between passing and failing."""
        passed = [run.status == "pass" for run in self.runs if run.status != "skipped"]
        changes = sum(before != after for before, after in pairwise(passed))
        return changes >= FLAKY_CHANGES


def prefix(storage: StorageSettings) -> str:
    """Prefix of the objects' keys."""
    return f"{storage.state_prefix}test_runs/"


def key(storage: StorageSettings, task: str) -> str:
    """Key of the object of `task` (`dag_id.task_id`)."""
    return f"{prefix(storage)}{task}.json"


def merged(before: Mapping[str, TestRuns], now: Mapping[str, TestRuns], at: datetime) -> dict[str, TestRuns]:
    """The runs of `before` followed by those of `now`, by the test's dbt id; long unused tests are left out."""
    kept = {name: tests for name, tests in before.items() if tests.runs and at - tests.newest.at <= FORGOTTEN_AFTER}
    for name, tests in now.items():
        earlier = kept[name].runs if name in kept else ()
        runs = (*(run for run in earlier if run.at < tests.newest.at), *tests.runs)[-MOST_RUNS:]
        kept[name] = msgspec.structs.replace(tests, runs=runs)
    return kept


def add(s3: S3Client, storage: StorageSettings, task: str, tests: Mapping[str, TestRuns], at: datetime) -> None:
    """Add one run of the task's tests (by dbt id) to its object; no test changes nothing.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    if not tests:
        return
    try:
        before = _read(s3, storage, key(storage, task))
    except json_object.StateUnreadableError:
        before = {}  # replaced by this run
    json_object.write(s3, storage.bucket, key(storage, task), merged(before, tests, at))


def read_all(s3: S3Client, storage: StorageSettings, unreadable: dict[str, str] | None = None) -> list[TestRuns]:
    """Every test of every task, by name. A broken object is noted in `unreadable` (key -> fault), and left out.

    Raises:
        StateUnreadableError: an object is broken, and `unreadable` is None.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=storage.bucket, Prefix=prefix(storage))
    keys = [item["Key"] for page in pages for item in page.get("Contents", []) if item["Key"].endswith(".json")]

    def noted(name: str) -> Iterable[TestRuns]:
        found: list[TestRuns] = []
        with json_object.noting(unreadable, name):
            found += _read(s3, storage, name).values()
        return found

    with ThreadPoolExecutor(READERS) as pool:
        found = [tests for group in pool.map(noted, keys) for tests in group if tests.runs]
    return sorted(found, key=lambda tests: (tests.name, tests.task))


def _read(s3: S3Client, storage: StorageSettings, name: str) -> dict[str, TestRuns]:
    remedy = "the next run of its task writes it again"
    stored = json_object.read(s3, storage.bucket, name, dict[str, TestRuns], remedy)
    return stored[0] if stored else {}
