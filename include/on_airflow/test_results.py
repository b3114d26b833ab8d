"""What dbt's tests said: told in the task's log, passed to the task that closes the layer, and to the mail.

Cosmos calls `keep` after each dbt invocation, also a failed one, with the folder that
holds `target/run_results.json`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from include.catalogue import LAYERS
from include.on_airflow.callbacks import TEST_RESULTS as XCOM_KEY
from include.settings import AlertSettings, StorageSettings, load_group
from include.state import task_tests
from include.state.layer_state import LayerTests, Run
from include.state.task_tests import TaskTests
from include.transform import failing_rows, run_results, test_history
from include.transform.layers import summarise
from include.transform.run_results import FAILED, NOT_PASSED, Invocation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["SCANNED", "XCOM_KEY", "as_xcom", "keep"]

SCANNED = "bytes_scanned"
"""XCom key of `Invocation.scanned`; not pushed where the adapter does not tell."""

log = logging.getLogger(__name__)


def as_xcom(invocation: Invocation, samples: Mapping[str, str]) -> list[dict[str, Any]]:
    """The data tests of one dbt invocation, as plain values fit for an XCom.

    Each has `name`, `status` (dbt's: pass, warn, fail, error, skipped), `failures` (rows), `message` and
    `rows` (a text with some of them, from `samples` by table; empty where none were kept).
    """
    return [
        {
            "name": test.name,
            "status": test.status,
            "failures": test.failures,
            "message": test.message,
            "rows": samples.get(test.stored_in, ""),
        }
        for test in invocation.tests
    ]


def keep(project_dir: str, context: Mapping[str, Any]) -> None:
    """Cosmos callback: log the failing tests with rows, push all as an XCom of the dbt task, add to the history.

    What a layer's tasks push becomes the layer's state; any other task leaves its own, for the monitor.
    """
    from include.on_airflow.connections import s3_client

    try:
        invocation = run_results.read(Path(project_dir))
    except FileNotFoundError as error:
        log.warning("no test results: dbt left no %s (it failed before it ran anything)", error.filename)
        return
    except run_results.RunResultsError as error:  # what dbt itself said decides whether the task fails
        log.error("no test results: %s", error)
        return
    ti = context["ti"]
    tables = [test.stored_in for test in invocation.tests if test.stored_in]
    tests = as_xcom(invocation, failing_rows.fetch(Path(project_dir), tables) if tables else {})
    ti.xcom_push(key=XCOM_KEY, value=tests)
    if invocation.scanned:
        ti.xcom_push(key=SCANNED, value=dict(invocation.scanned))
        log.info("bytes scanned: %s", ", ".join(f"{model} {read:,}" for model, read in invocation.scanned.items()))
    for result, test in zip(invocation.tests, tests, strict=True):
        if test["status"] in NOT_PASSED:
            level = logging.ERROR if test["status"] in FAILED else logging.WARNING
            rows = f"\nsample rows:\n{test['rows']}" if test["rows"] else ""
            log.log(
                level,
                "test %s: %s, %d rows in %.1f s. %s%s\nSQL:\n%s",
                test["name"],
                test["status"],
                test["failures"],
                result.seconds,
                test["message"],
                rows,
                result.sql,  # dbt's own log names a file with it, in a folder that Cosmos removes
            )
    s3, storage = s3_client(), load_group(StorageSettings)
    test_history.keep(s3, storage, test_history.rows(invocation, ti.dag_id, ti.run_id))
    if ti.task_id.partition(".")[0] not in LAYERS:
        _leave(s3, storage, context, summarise(tests), invocation.finished_at)


def _leave(s3: S3Client, storage: StorageSettings, context: Mapping[str, Any], tests: LayerTests, at: datetime) -> None:
    """Leave the tests of a task outside the layers, once it is done with its attempts; raises nothing.

    A run of a selection leaves nothing: the state is of the last run of all the task's tests.
    """
    ti = context["ti"]
    if (tests.failed and ti.try_number <= ti.max_tries) or context["params"].get("select"):
        return
    run = Run.of(ti.dag_id, ti.run_id, load_group(AlertSettings).airflow_url)
    state = TaskTests(f"{ti.dag_id}.{ti.task_id}", at, tests, run)
    try:
        task_tests.write(s3, storage, state)
    except (ClientError, BotoCoreError) as error:
        log.error("the monitor is not told of these tests; the data is not affected: %s", error)
