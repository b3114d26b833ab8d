"""The results of every dbt test, kept without limit, for pass rate, start of a failure and flakiness.

Each dbt invocation becomes one file of JSON lines, one for each test:

    test_history/2026/11/23/<invocation_id>.json

Each invocation has its own key, so two writers never collide. In a table they would: every model is its own task, and
their dbt hooks would write to one Iceberg table at once. An external table and dbt views read the files.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from include.instants import from_text
from include.reasons import reason_of
from include.settings import StorageSettings
from include.transform.run_results import Invocation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TestRun:
    """One test in one dbt invocation, a line of the file. `executed_at` is ISO 8601, UTC, to the second."""

    invocation_id: str
    run_id: str
    dag_id: str
    executed_at: str
    layer: str
    node_id: str
    name: str
    model: str
    severity: str
    status: str
    failures: int
    execution_seconds: float
    message: str


def rows(invocation: Invocation, dag_id: str, run_id: str) -> list[TestRun]:
    """The lines of one dbt invocation."""
    return [
        TestRun(
            invocation_id=invocation.invocation_id,
            run_id=run_id,
            dag_id=dag_id,
            executed_at=invocation.finished_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            layer=test.layer,
            node_id=test.node_id,
            name=test.name,
            model=test.model,
            severity=test.severity,
            status=test.status,
            failures=test.failures,
            execution_seconds=round(test.seconds, 3),
            message=test.message,
        )
        for test in invocation.tests
    ]


def key(storage: StorageSettings, invocation_id: str, executed_at: datetime) -> str:
    """Key of the file of one invocation."""
    return f"{storage.test_history_prefix}{executed_at.astimezone(UTC):%Y/%m/%d}/{invocation_id}.json"


def write(s3: S3Client, storage: StorageSettings, tests: list[TestRun]) -> str | None:
    """Write the tests of one invocation as JSON lines; returns the key, or None if there was no test.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    if not tests:
        return None
    object_key = key(storage, tests[0].invocation_id, from_text(tests[0].executed_at))
    body = "".join(json.dumps(asdict(test), separators=(",", ":")) + "\n" for test in tests)
    s3.put_object(Bucket=storage.bucket, Key=object_key, Body=body.encode(), ContentType="application/x-ndjson")
    return object_key


def keep(s3: S3Client, storage: StorageSettings, tests: list[TestRun]) -> None:
    """Like `write`, but a failure is only logged, because the data is not affected."""
    try:
        object_key = write(s3, storage, tests)
    except (ClientError, BotoCoreError) as error:
        log.error("the test history of this invocation is not kept; the data is not affected: %s", reason_of(error))
    else:
        log.info("test history: %d tests in %s", len(tests), object_key or "no file, as there was no test")
