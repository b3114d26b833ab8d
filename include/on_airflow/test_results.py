"""The results of dbt's tests: in the task's log, as XCom for the layer's state and the mail, and in the history.

Cosmos calls `keep` after each dbt invocation, also if dbt failed, with the folder that
contains `target/run_results.json`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from include.on_airflow import companion_build, layer_record
from include.on_airflow.callbacks import TEST_RESULTS as XCOM_KEY
from include.on_airflow.layer_record import SCANNED
from include.reasons import reason_of
from include.settings import AlertSettings, StorageSettings, load_group
from include.state import task_tests, test_runs
from include.state.dbt_tests import DbtTests
from include.state.layer_state import DagRunRef
from include.state.task_tests import TaskTests
from include.state.test_runs import Run, TestRuns
from include.transform import failing_rows, run_results, test_history
from include.transform.run_results import FAILED, NOT_PASSED, Invocation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["SCANNED", "XCOM_KEY", "keep"]

log = logging.getLogger(__name__)


def keep(project_dir: str, context: Mapping[str, Any]) -> None:
    """Cosmos callback: publish the results of the dbt task, then record its layer if this was the layer's last task.

    The XComs of a layer's tasks become the layer's state. Any other task writes a state object of its own.
    """
    invocation = _read(Path(project_dir))
    if invocation is not None:
        _publish(project_dir, context, invocation)
    succeeded = invocation is not None and invocation.succeeded
    companion_build.after(context, succeeded=succeeded)
    layer_record.after(context, succeeded=succeeded)


def _read(project_dir: Path) -> Invocation | None:
    try:
        return run_results.read(project_dir)
    except FileNotFoundError as error:
        log.warning("no test results: dbt wrote no %s (dbt failed before it ran a node)", error.filename)
    except run_results.RunResultsError as error:  # dbt's own result decides whether the task fails
        log.error("no test results: %s", error)
    return None


def _publish(project_dir: str, context: Mapping[str, Any], invocation: Invocation) -> None:
    """Log failing tests with rows, push all results as XComs of the dbt task, and write the history."""
    from include.on_airflow.connections import s3_client

    ti = context["ti"]
    tables = [test.stored_in for test in invocation.tests if test.stored_in]
    samples = failing_rows.fetch(Path(project_dir), tables) if tables else {}
    tests = invocation.summary(samples)
    ti.xcom_push(key=XCOM_KEY, value=msgspec.to_builtins(tests))
    if invocation.scanned:
        ti.xcom_push(key=SCANNED, value=dict(invocation.scanned))
        log.info("bytes scanned: %s", ", ".join(f"{model} {read:,}" for model, read in invocation.scanned.items()))
    _log(invocation, samples)
    s3, storage = s3_client(), load_group(StorageSettings)
    test_history.keep(s3, storage, test_history.rows(invocation, ti.dag_id, ti.run_id))
    _keep_runs(s3, storage, ti, invocation)
    if layer_record.layer_of(ti.task_id) is None:
        _store(s3, storage, context, tests, invocation.finished_at)


def _log(invocation: Invocation, samples: Mapping[str, str]) -> None:
    for test in invocation.tests:
        if test.status in NOT_PASSED:
            rows = samples.get(test.stored_in)
            log.log(
                logging.ERROR if test.status in FAILED else logging.WARNING,
                "test %s: %s, %d rows in %.1f s. %s%s\nSQL:\n%s",
                test.name,
                test.status,
                test.failures,
                test.seconds,
                test.message,
                f"\nsample rows:\n{rows}" if rows else "",
                test.sql,  # dbt's own log names a file with it, in a folder that Cosmos removes
            )


def _keep_runs(s3: S3Client, storage: StorageSettings, ti: Any, invocation: Invocation) -> None:
    """Add the results to the last runs of the tests; an error of S3 is only logged."""
    task, at = f"{ti.dag_id}.{ti.task_id}", invocation.finished_at
    url = DagRunRef.of(ti.dag_id, ti.run_id, load_group(AlertSettings).airflow_url).url
    runs = {
        test.node_id: TestRuns(
            name=test.name,
            layer=test.layer,
            model=test.model,
            severity=test.severity,
            runs=(Run(at, test.status, test.failures),),
            owner=test.owner,
            url=url,
            task=task,
        )
        for test in invocation.tests
    }
    try:
        test_runs.add(s3, storage, task, runs, at)
    except (ClientError, BotoCoreError) as error:
        log.error("Pipeline Health does not get these results; the data is not affected: %s", reason_of(error))


def _store(s3: S3Client, storage: StorageSettings, context: Mapping[str, Any], tests: DbtTests, at: datetime) -> None:
    """Write the tests of a task outside the layers after its last attempt; an error of S3 is only logged.

    A run with a selection writes no state, because the state is that of the last run of all tests of the task.
    """
    ti = context["ti"]
    if (tests.failed and ti.try_number <= ti.max_tries) or context["params"].get("select"):
        return
    run = DagRunRef.of(ti.dag_id, ti.run_id, load_group(AlertSettings).airflow_url)
    try:
        task_tests.write(s3, storage, TaskTests(f"{ti.dag_id}.{ti.task_id}", at, tests, run))
    except (ClientError, BotoCoreError) as error:
        log.error("the monitor does not get these tests; the data is not affected: %s", reason_of(error))
