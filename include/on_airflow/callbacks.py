"""What Airflow calls when a task fails, and how notices leave.

`on_task_failure` is for the tasks of every DAG but the monitor: it raises the alert in the
shared alert state and delivers; `on_deadline_missed` raises one for a run that hangs.
`deliver_notices` sends what waits in the outbox; the
monitor's last task has it as success and as failure callback. Airflow logs what a callback
raises and goes on, so a broken mail server fails no data: the notice stays in the outbox,
the log says why, the next tick of the monitor shows it and tries again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from include.catalogue import CONDITIONS
from include.instants import from_text, span
from include.monitoring.alerts import transitions as alert_rules
from include.monitoring.alerts.model import OpenAlert
from include.settings import Settings, load
from include.transform.run_results import FAILED

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.monitoring.alerts.store import AlertStore

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

TEST_RESULTS = "test_results"
"""XCom key under which a dbt task leaves its tests: a list of objects with `name`, `status`
(dbt's word), `failures`, `message` and, where there are any, `rows` (a text with sample rows)."""


def on_task_failure(context: Context) -> None:
    """Failure callback of tasks: one notice when it starts, none while it lasts, one when it is over.

    A dbt task that left failing tests raises one alert a test (the monitor knows them by the
    same name and does not tell again); any other task raises `task_failed`. Both are over
    when the task has succeeded again.
    """
    from include.monitoring.alerts.store import update

    settings, now = load(), datetime.now(UTC)
    store = _store(settings)
    alerts = alerts_of(context, settings, now)
    new = update(store, lambda state: alert_rules.raised(state, alerts, now, settings.alert.reminder_after))
    log.info("alert state: %d raised, %d of them new", len(alerts), len(new))
    deliver(store, settings)


def on_deadline_missed(context: Mapping[str, Any], ended_by: str) -> None:
    """Deadline callback of a DAG: a run has not ended in time.

    Over when the run ends well after all; when it has failed or was deleted, once `ended_by` succeeds in another one.

    Airflow runs it on the executor, with a small context and a token that opens no connection (3.3.2: "Access
    denied"). So it writes the notice into the alert state with the process's own AWS credentials, as dbt
    works with, and the monitor's next tick mails it; the ticks also ask for the run's state and count the successes.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached; the monitor tells of that.
    """
    from include.monitoring.alerts.store import S3AlertStore, update
    from include.on_airflow.connections import own_s3_client

    settings, now = load(), datetime.now(UTC)
    run = context["dag_run"]
    if run["end_date"] is not None:  # a failed run has told already
        log.info("%s ended meanwhile, as %s", run["dag_run_id"], run["state"])
        return
    alert = _of_late_run(context, settings, now, ended_by)
    store = S3AlertStore(own_s3_client(settings.aws), settings.storage)
    new = update(store, lambda state: alert_rules.raised(state, [alert], now, settings.alert.reminder_after))
    log.info("alert state: %s raised, %s", alert.key, "new" if new else "known already")


def _of_late_run(context: Mapping[str, Any], settings: Settings, now: datetime, ended_by: str) -> OpenAlert:
    one, run = CONDITIONS["run_late"], context["dag_run"]
    queued, deadline = from_text(run["queued_at"]), context["deadline"]["deadline_time"]
    allowed = (from_text(deadline) if isinstance(deadline, str) else deadline) - queued
    return OpenAlert(
        key=f"{one.name}:{run['dag_id']}",
        condition=one.name,
        severity=one.severity,
        title=f"{one.title}: {run['dag_id']}",
        since=now,
        notified_at=now,
        value=f"{run['state']} for {span((now - queued).total_seconds())}",
        threshold=f"not ended {span(allowed.total_seconds())} after it was queued",
        details=(f"run {run['dag_run_id']}",),
        run_url=run_link(settings, run["dag_id"], run["dag_run_id"]),
        raised_by=run["dag_id"],
        task=f"{run['dag_id']}/{ended_by}",
        run=f"{run['dag_id']}/{run['dag_run_id']}",
    )


def deliver_notices(context: Context) -> None:  # noqa: ARG001 Airflow passes it
    """Success and failure callback of the monitor's last task: send what waits in the outbox."""
    settings = load()
    deliver(_store(settings), settings)


def deliver(store: AlertStore, settings: Settings) -> int:
    """Send every notice that nobody else is sending, as one mail. Returns how many it told of.

    Raises:
        Exception: what the mail server or the connection said; the notices stay in the outbox.
    """
    from include.monitoring.alerts.store import update
    from include.on_airflow.channels import send

    now = datetime.now(UTC)
    mine = update(store, lambda state: alert_rules.claim(state, now))
    if not mine:
        return 0
    ids = [notice.id for notice in mine]
    try:
        send(mine, settings, now)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        update(store, lambda state: (alert_rules.refused(state, ids, reason), None))
        log.error("%d notices are not delivered and stay in the outbox: %s", len(mine), reason)
        raise
    update(store, lambda state: (alert_rules.delivered(state, ids), None))
    log.info("delivered %d notices: %s", len(mine), ", ".join(f"{one.kind} {one.alert.key}" for one in mine))
    return len(mine)


def alerts_of(context: Context, settings: Settings, now: datetime) -> list[OpenAlert]:
    """The alerts that a failed task raises."""
    ti = context["ti"]
    run_url = run_link(settings, ti.dag_id, ti.run_id, ti.task_id)
    failing = [_of_test(test, run_url, ti.dag_id, now) for test in _tests_of(ti) if test["status"] in FAILED]
    alerts = failing or [_of_task(context, run_url, now)]
    count = successes(ti.dag_id, ti.task_id)
    return [replace(alert, task=f"{ti.dag_id}/{ti.task_id}", successes=count) for alert in alerts]


def _tests_of(ti: Any) -> list[Mapping[str, Any]]:
    """The tests that the task left; none where that cannot be asked: the failure of the task is told all the same."""
    what = f"the tests of {ti.dag_id} / {ti.task_id} cannot be read here"
    return _asked(lambda: ti.xcom_pull(task_ids=ti.task_id, key=TEST_RESULTS), what) or []


def _of_test(test: Mapping[str, Any], run_url: str, dag_id: str, now: datetime) -> OpenAlert:
    one = CONDITIONS["dbt_tests"]
    details = [str(test["message"])] + ([f"sample rows:\n{test['rows']}"] if test.get("rows") else [])
    return OpenAlert(
        key=f"{one.name}:{test['name']}",
        condition=one.name,
        severity=one.severity,
        title=f"{one.title}: {test['name']}",
        since=now,
        notified_at=now,
        value=f"{test['failures']} failing rows",
        threshold="any failing test",
        details=tuple(details),
        run_url=run_url,
        raised_by=dag_id,
    )


def _of_task(context: Context, run_url: str, now: datetime) -> OpenAlert:
    one, ti = CONDITIONS["task_failed"], context["ti"]
    error = context.get("exception")
    said = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error or "no error is known")
    return OpenAlert(
        key=f"{one.name}:{ti.dag_id}/{ti.task_id}",
        condition=one.name,
        severity=one.severity,
        title=f"{one.title}: {ti.dag_id} / {ti.task_id}",
        since=now,
        notified_at=now,
        value=f"failed in attempt {ti.try_number}",
        threshold="any failure after the retries",
        details=(said,),
        run_url=run_url,
        raised_by=ti.dag_id,
    )


def successes(dag_id: str, task_id: str, but_in: str = "") -> int | None:
    """How many instances of the task have succeeded, not counting the run `but_in`; None where that cannot be asked.

    (Airflow runs the callback of a task that was killed in the DAG processor, which cannot ask.)
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def ask() -> int:
        what: dict[str, Any] = {"dag_id": dag_id, "task_ids": [task_id], "states": ["success"]}
        found = int(RuntimeTaskInstance.get_ti_count(**what))
        return found - int(RuntimeTaskInstance.get_ti_count(**what, run_ids=[but_in])) if but_in else found

    return _asked(ask, f"the successes of {dag_id} / {task_id} cannot be counted here")


def run_state(dag_id: str, run_id: str) -> str | None:
    """Airflow's state of a run; None where that cannot be asked, or when the run was deleted."""
    from airflow.sdk import DagRunState
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def ask() -> str:
        return DagRunState(RuntimeTaskInstance.get_dagrun_state(dag_id=dag_id, run_id=run_id)).value

    return _asked(ask, f"the state of {dag_id} / {run_id} cannot be asked here")


def _asked(ask: Callable[[], Answer], otherwise: str) -> Answer | None:
    """What Airflow answers; None, and a warning, where it cannot be asked or its API server fails."""
    from airflow.sdk.exceptions import AirflowRuntimeError

    try:
        return ask()
    except (NameError, RuntimeError, ValueError, AirflowRuntimeError) as error:
        log.warning("%s: %s", otherwise, error)
        return None


def run_link(settings: Settings, dag_id: str, run_id: str, task_id: str | None = None) -> str:
    """Address of a run, or of a task in it, in the Airflow UI."""
    from urllib.parse import quote

    base = f"{settings.alert.airflow_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}"
    return f"{base}/tasks/{quote(task_id)}" if task_id else base


def _store(settings: Settings) -> AlertStore:
    from include.monitoring.alerts.store import S3AlertStore
    from include.on_airflow.connections import s3_client
    from include.on_airflow.fallback_store import store_in_force

    return store_in_force(S3AlertStore(s3_client(), settings.storage))[0]
