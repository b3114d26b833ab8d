"""Looks at each DAG through the API that Airflow gives to a task: no database, no login, no address.

The same requests stand behind `TriggerDagRunOperator` and `ExternalTaskSensor`. They work wherever a task runs: in the
demo, in Astro and with a remote worker. The public REST API would need an account and its secret in each deployment.
"""

from __future__ import annotations

import dataclasses
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec.structs import replace

from include.monitoring.checks import dag_memory, dag_runs
from include.monitoring.checks.dag_runs import STARTS_WITHIN, Look, Memory, Promise, Run
from include.monitoring.checks.measurements import DagsMeasurement
from include.on_airflow import runs
from include.on_airflow.refusal import REFUSED
from include.on_airflow.watched_dags import START, WatchedDag, watched
from include.reasons import reason_of
from include.settings import Settings, StorageSettings
from include.state.json_object import StateUnreadableError
from include.transform import starts
from include.transform.start_rule import StartRule

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

FAR_AHEAD = timedelta(days=3650)
"""Airflow is asked for the last run before this time from now, which is the newest run."""
MOST_RUNS = 50
"""Maximum of runs without a logical date among which the failed one is searched."""


def measure(s3: S3Client, settings: Settings, now: datetime) -> DagsMeasurement:
    """The problems of each watched DAG; adds this look to the memory in S3.

    Raises:
        AirflowRuntimeError: Airflow's API server failed.
    """
    storage = settings.storage
    before, not_read = dag_memory.read(s3, storage)
    problems, after = {}, dict(before)
    for dag in watched():
        known, promise = before.get(dag.dag_id), promise_of(dag, now, s3, storage)
        promise = dataclasses.replace(promise, may_be_paused=dag.dag_id in settings.monitor.paused_dags)
        look = _look(dag, known, now)
        memory = after[dag.dag_id] = dag_runs.remember(known, look, promise)
        problems[dag.dag_id] = [
            replace(problem, run_url=runs.link(settings.alert, dag.dag_id, problem.run_id))
            if problem.run_id
            else problem
            for problem in dag_runs.problems(memory, look, promise)
        ]
        log.info("dag=%s %s %s", dag.dag_id, look, memory)
    # A memory that S3 did not return must not be replaced by this one look.
    return DagsMeasurement(problems, not_read or dag_memory.write(s3, storage, after))


def promise_of(dag: WatchedDag, now: datetime, s3: S3Client, storage: StorageSettings) -> Promise:
    """What the DAG's schedule promises at `now`."""
    if dag.starts is not None:
        return Promise(dag.limit, by_event=True, unread=_unread(dag.starts, now, s3, storage))
    if dag.schedule is None:
        return Promise(dag.limit)
    return Promise(
        dag.limit,
        started=_due(dag.schedule, now - STARTS_WITHIN),
        succeeded=_due(dag.schedule, now - STARTS_WITHIN - dag.limit),
    )


def _unread(rule: StartRule, now: datetime, s3: S3Client, storage: StorageSettings) -> bool | None:
    """Whether a run may start and has a reason to; None if S3 does not show it, which other conditions tell."""
    try:
        return starts.has_cause(s3, storage, rule, starts.read_starts(s3, storage), now) is True
    except (ClientError, BotoCoreError, StateUnreadableError) as error:
        log.error("not known whether something is unread: %s", reason_of(error))
        return None


def _due(schedule: str, before: datetime) -> datetime:
    """The newest time of the schedule before a moment, and not before the DAGs' start date."""
    from croniter import croniter  # comes with Airflow, whose schedules use it

    due: datetime = croniter(schedule, before.astimezone(UTC)).get_prev(datetime)
    return max(due, START)


def _look(dag: WatchedDag, known: Memory | None, now: datetime) -> Look:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance as Ti

    shown = _dag(dag.dag_id)
    if shown is None:
        return Look(now, paused=False, known=False)
    newest, succeeded = _newest(dag.dag_id, now), _newest(dag.dag_id, now, "success")
    failed = Ti.get_dr_count(dag.dag_id, states=["failed"])
    by_hand = _undated(dag, known.last_seen) if known and failed > known.failed else []
    suspects = [run for run in (newest, *by_hand) if run and run.state == "failed"]
    failure = known.failure if known else None
    return Look(
        now,
        paused=shown.is_paused,
        newest=newest,
        succeeded=succeeded,
        failures=[run for run in suspects if not _refused(dag, run.run_id)],
        by_hand=by_hand,
        failed=failed,
        successes=Ti.get_dr_count(dag.dag_id, states=["success"]),
        active=Ti.get_dr_count(dag.dag_id, states=["queued", "running"]),
        waiting=Ti.get_dr_count(dag.dag_id, states=["queued"])
        + Ti.get_ti_count(dag.dag_id, states=["queued", "scheduled"]),
        working=Ti.get_ti_count(dag.dag_id, states=["running", "up_for_retry", "deferred", "up_for_reschedule"]),
        remembered=runs.run_state(f"{dag.dag_id}/{failure.run_id}") if failure and not failure.over else None,
    )


def _dag(dag_id: str) -> Any:
    """Airflow's record of the DAG; None if Airflow does not have it."""
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance as Ti

    try:
        return Ti.get_dag(dag_id)
    except AirflowRuntimeError as error:
        if "404" in str(error) or "not_found" in str(error).lower():
            return None
        raise


def _newest(dag_id: str, now: datetime, state: str | None = None) -> Run | None:
    """The newest run with a logical date, and, if it failed, the states of its tasks."""
    from airflow.sdk.execution_time.comms import GetPreviousDagRun
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    request = GetPreviousDagRun(dag_id=dag_id, logical_date=now + FAR_AHEAD, state=state)
    response: Any = SUPERVISOR_COMMS.send(request)
    return _run(response.dag_run) if response and response.dag_run else None


def _undated(dag: WatchedDag, since: datetime) -> list[Run]:
    """Runs without a logical date that ended after `since`. The requests are made only when a run has failed."""
    from airflow.sdk.execution_time.comms import GetDagRun
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance as Ti

    states: Any = Ti.get_task_states(dag.dag_id, task_ids=[dag.first_task])
    by_hand = sorted((run_id for run_id in states if not run_id.startswith("scheduled__")), reverse=True)
    found = []
    for run_id in by_hand[:MOST_RUNS]:
        response: Any = SUPERVISOR_COMMS.send(GetDagRun(dag_id=dag.dag_id, run_id=run_id))
        if response.end_date and response.end_date > since:
            found.append(_run(response))
    return found


def _run(run: Any) -> Run:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance as Ti

    failed = run.state == "failed"
    states: Any = Ti.get_task_states(run.dag_id, run_ids=[run.run_id]) if failed else {}
    tasks = dict(states.get(run.run_id, {}))
    return Run(run.run_id, str(run.state.value), run.run_after, run.start_date, run.end_date, tasks)


def _refused(dag: WatchedDag, run_id: str) -> bool:
    """Whether the run's first task refused its parameters."""
    from airflow.sdk import get_current_context

    ti = get_current_context()["ti"]
    return bool(ti.xcom_pull(task_ids=dag.first_task, dag_id=dag.dag_id, run_id=run_id, key=REFUSED))
