"""Callbacks that Airflow runs: they raise alerts of failed tasks and late runs, and deliver notices.

`on_task_failure` is for the tasks of every DAG except the monitor: it raises the alert in the
shared alert state and sends the notices. `on_deadline_missed` raises an alert for a run that hangs.
`deliver_notices` sends the notices that wait in the outbox; the monitor's last task has it as
success and as failure callback. Airflow logs the error of a callback and continues, so a broken
mail server does not affect data: the notice stays in the outbox, the log has the reason, and the
monitor's next run shows the reason and tries again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from include.catalogue import CONDITIONS, LAYERS
from include.instants import from_text, span
from include.monitoring.alerts import transitions
from include.monitoring.alerts.model import Notice, OpenAlert
from include.on_airflow import runs
from include.on_airflow.refusal import is_refusal
from include.reasons import reason_of
from include.settings import Settings, load
from include.state.dbt_tests import NO_TESTS, DbtTests, FailingTest

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.monitoring.alerts.store import AlertStore

log = logging.getLogger(__name__)

TEST_RESULTS = "test_results"
"""XCom key under which a dbt task pushes its `DbtTests`."""


def on_task_failure(context: Context) -> None:
    """Failure callback of tasks: one notice when a failure starts, none while it lasts, one when it is over.

    A dbt task that pushed failing tests raises one alert for each test. The monitor uses the same
    key and makes no second notice. Any other task raises `task_failed`. Both alerts are over when
    the task has succeeded again.
    """
    from include.monitoring.alerts.store import update
    from include.on_airflow import silencing
    from include.on_airflow.connections import s3_client

    if is_refusal(context.get("exception")):
        log.info("no alert: the run's parameters were refused, which its author sees")
        return
    settings, now = load(), datetime.now(UTC)
    store = _store(settings)
    alerts = alerts_of(context, settings, now)
    silences = silencing.known(s3_client(), settings.storage)
    reminder_after = settings.alert.reminder_after
    new = update(store, lambda state: transitions.raise_alerts(state, alerts, now, reminder_after, silences))
    log.info("alert state: %d raised, %d of them new", len(alerts), len(new))
    deliver(store, settings)


def on_deadline_missed(context: Mapping[str, Any], ended_by: str) -> None:
    """Deadline callback of a DAG: a run has not ended in time.

    The alert is over when the run ends well. If the run fails or is deleted, the alert is over when the task
    `ended_by` succeeds in another run.

    Airflow runs this callback on the executor, with a small context and a token that opens no connection (3.3.2:
    "Access denied"). So it writes the notice into the alert state with the process's own AWS credentials, like dbt.
    The monitor's next run mails it. The monitor also asks for the run's state and counts the successes.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached; the monitor raises an alert about that.
    """
    from include.monitoring.alerts.store import S3AlertStore, update
    from include.on_airflow import silencing
    from include.on_airflow.connections import own_s3_client

    settings, now = load(), datetime.now(UTC)
    run = context["dag_run"]
    if run["end_date"] is not None:  # if it failed, its task has raised an alert already
        log.info("%s has ended already, with the state %s", run["dag_run_id"], run["state"])
        return
    alert = _of_late_run(context, settings, now, ended_by)
    s3 = own_s3_client(settings.aws)
    store, silences = S3AlertStore(s3, settings.storage), silencing.known(s3, settings.storage)
    reminder_after = settings.alert.reminder_after
    new = update(store, lambda state: transitions.raise_alerts(state, [alert], now, reminder_after, silences))
    log.info("alert state: %s raised, %s", alert.key, "new" if new else "open already")


def _of_late_run(context: Mapping[str, Any], settings: Settings, now: datetime, ended_by: str) -> OpenAlert:
    condition, run = CONDITIONS["run_late"], context["dag_run"]
    queued, deadline = from_text(run["queued_at"]), context["deadline"]["deadline_time"]
    allowed = (from_text(deadline) if isinstance(deadline, str) else deadline) - queued
    alert = OpenAlert.begin(
        condition,
        now,
        run["dag_id"],
        value=f"{run['state']} for {span(now - queued)}",
        threshold=f"not ended {span(allowed)} after it was queued",
        details=(f"run {run['dag_run_id']}",),
    )
    return replace(
        alert,
        run_url=runs.link(settings.alert, run["dag_id"], run["dag_run_id"]),
        raised_by=run["dag_id"],
        task=f"{run['dag_id']}/{ended_by}",
        run=f"{run['dag_id']}/{run['dag_run_id']}",
    )


def deliver_notices(context: Context) -> None:  # noqa: ARG001 Airflow passes it
    """Success and failure callback of the monitor's last task: send the notices that wait in the outbox."""
    settings = load()
    deliver(_store(settings), settings)


def deliver(store: AlertStore, settings: Settings) -> int:
    """Send every notice that is due and that no other process is sending. Returns the number of notices.

    The new notices are one mail. A notice that was tried before is sent with the same mail as then.

    Raises:
        Exception: the error of the mail server or the connection; the notices stay in the outbox.
    """
    from include.monitoring.alerts.store import update

    now = datetime.now(UTC)
    claimed = update(store, lambda state: transitions.claim(state, now))
    waiting = {notice.batch: [other for other in claimed if other.batch == notice.batch] for notice in claimed}
    try:
        for batch in list(waiting):
            _deliver_mail(store, settings, waiting[batch], now)
            del waiting[batch]
    except Exception as error:
        reason = reason_of(error)
        ids = [notice.id for notices in waiting.values() for notice in notices]
        update(store, lambda state: (transitions.mark_refused(state, ids, reason), None))
        log.error("%d notices are not delivered and stay in the outbox: %s", len(ids), reason)
        raise
    return len(claimed)


def _deliver_mail(store: AlertStore, settings: Settings, notices: Sequence[Notice], now: datetime) -> None:
    """Send one mail and record at once that it was accepted."""
    from include.monitoring.alerts.mail import render
    from include.monitoring.alerts.store import update
    from include.on_airflow.channels import send

    mail = render(notices, settings.alert, settings.monitor.environment, now, _histories(notices, settings, now))
    send(notices, mail, settings.alert)
    ids = [notice.id for notice in notices]
    update(store, lambda state: (transitions.mark_delivered(state, ids), None))
    summary = ", ".join(f"{notice.kind} {notice.alert.key}" for notice in notices)
    log.info("delivered %d notices: %s", len(notices), summary)


def _histories(notices: Sequence[Notice], settings: Settings, now: datetime) -> dict[str, str]:
    """The last hours of the alerts' numbers. A mail is complete without them, so an error of CloudWatch is logged."""
    from botocore.exceptions import BotoCoreError, ClientError

    from include.monitoring.alerts import history
    from include.on_airflow.connections import cloudwatch_client

    try:
        return history.lines(cloudwatch_client(), settings.monitor, [notice.alert.condition for notice in notices], now)
    except (ClientError, BotoCoreError) as error:
        log.warning("the mail has no course of the numbers: %s", reason_of(error))
        return {}


def alerts_of(context: Context, settings: Settings, now: datetime) -> list[OpenAlert]:
    """The alerts that a failed task raises."""
    ti = context["ti"]
    task, run_url = f"{ti.dag_id}/{ti.task_id}", runs.link(settings.alert, ti.dag_id, ti.run_id, ti.task_id)
    alerts = [_of_test(test, ti, now) for test in _failed_tests(ti)] or [_of_task(context, now)]
    count = runs.successes(task)
    return [replace(alert, run_url=run_url, raised_by=ti.dag_id, task=task, successes=count) for alert in alerts]


def _failed_tests(ti: Any) -> list[FailingTest]:
    """The failed tests in the task's XCom; empty when it cannot be read, so that the alert `task_failed` is raised."""

    def pull() -> DbtTests:
        return msgspec.convert(ti.xcom_pull(task_ids=ti.task_id, key=TEST_RESULTS) or NO_TESTS, DbtTests)

    tests = runs.ask(pull, f"the tests of {ti.dag_id} / {ti.task_id} cannot be read here")
    return [test for test in tests.failing if test.severity == "error"] if tests else []


def _of_test(test: FailingTest, ti: Any, now: datetime) -> OpenAlert:
    condition, layer = CONDITIONS["dbt_tests"], ti.task_id.partition(".")[0]
    return OpenAlert.begin(
        condition,
        now,
        test.name,
        value=test.failing_rows,
        threshold="any failing test",
        details=(test.report(layer if layer in LAYERS else f"{ti.dag_id}.{ti.task_id}"),),
    )


def _of_task(context: Context, now: datetime) -> OpenAlert:
    condition, ti, error = CONDITIONS["task_failed"], context["ti"], context.get("exception")
    text = reason_of(error or "no error is known")
    alert = OpenAlert.begin(
        condition,
        now,
        f"{ti.dag_id}/{ti.task_id}",
        value=f"failed in attempt {ti.try_number}",
        threshold="any failure after the retries",
        details=(text,),
    )
    return replace(alert, title=f"{condition.title}: {ti.dag_id} / {ti.task_id}")


def _store(settings: Settings) -> AlertStore:
    from include.monitoring.alerts.store import S3AlertStore
    from include.on_airflow.connections import s3_client
    from include.on_airflow.fallback_store import store_in_force

    return store_in_force(S3AlertStore(s3_client(), settings.storage))[0]
