"""The steps of the monitor DAG: what each of its tasks does, with Airflow's connections.

Pure decisions are in tick.py and alert_rules.py, one look at each source in measure.py.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from include.catalogue import METRICS
from include.monitoring.alerts import transitions as alert_rules
from include.monitoring.alerts.model import AlertState, Notice
from include.monitoring.alerts.store import S3AlertStore, update
from include.monitoring.alerts.transitions import awaited
from include.monitoring.checks import cloudwatch, measure, thresholds
from include.monitoring.checks import verdicts as tick
from include.monitoring.checks.judge import Verdict
from include.on_airflow import connections
from include.on_airflow.callbacks import run_link, run_state, successes
from include.on_airflow.fallback_store import VariableAlertStore, move_back, store_in_force
from include.settings import load

log = logging.getLogger(__name__)

DAG_ID = "pipeline_monitor"
NOT_MAILED = {"notices_undelivered"}
"""Shown on the board and in CloudWatch; a mail about it would arrive when it is over."""


def look_at(source: tick.Source) -> dict[str, Any]:
    """Measure one source.

    Raises:
        Exception: what the source's client said; nothing is measured then.
    """
    settings, now = load(), datetime.now(UTC)
    if source == "consumer":
        found = measure.consumer(connections.cloudwatch_client(), settings, now)
    else:
        s3 = connections.s3_client()
        if source == "kafka":
            looker = connections.kafka_looker(settings.kafka.group)
            found = measure.kafka(connections.kafka_admin(), looker, s3, settings, now)
        elif source == "objects":
            found = measure.landed(s3, settings, now)
        else:
            found = measure.layers(s3, S3AlertStore(s3, settings.storage), settings, now)
    log.info("measured %s: %s", source, found)
    return found


def publish(
    measured: Mapping[str, dict[str, Any] | None], faults: Mapping[str, str], variable: str | None
) -> tuple[list[dict[str, Any]], str]:
    """Publish what is known, and judge every condition.

    Returns the verdicts as JSON and, when CloudWatch did not take the numbers, the reason.
    """
    settings = load()
    now = datetime.now(UTC)
    blind: dict[str, str] = {
        source: faults.get(source) or "its measuring task failed" for source in tick.SOURCES if not measured.get(source)
    }
    limits, threshold_faults = thresholds.in_force(variable)
    if threshold_faults:
        blind["thresholds"] = "; ".join(threshold_faults)
    refusal = ""
    data = tick.data(tick.Tick(measured, blind))
    for one in data:
        log.info(
            "metric=%s%s value=%s unit=%s",
            one.metric,
            f" layer={one.layer}" if one.layer else "",
            one.value,
            METRICS[one.metric].unit,
        )
    try:
        client = connections.cloudwatch_client()
        cloudwatch.publish(client, settings.monitor.namespace, settings.monitor.environment, data, now)
    except (ClientError, BotoCoreError) as error:
        refusal = f"{type(error).__name__}: {error}"
        blind["publish"] = refusal  # the check counts it; the published number cannot
        log.error("cloudwatch status=failed namespace=%s error=%s", settings.monitor.namespace, refusal)
    found = tick.verdicts(tick.Tick(measured, blind), limits)
    for verdict in found:
        log.info("condition=%s outcome=%s %s", verdict.condition, verdict.outcome, verdict.sentence)
    return [verdict.to_json() for verdict in found], refusal


def transitions(verdicts: Sequence[Mapping[str, Any]] | None, run_id: str) -> list[Notice]:
    """Bring the alert state up to date; returns the notices that are new. They wait in the outbox.

    Without verdicts (the publishing task died) the monitor itself is blind, and that is the
    only verdict.
    """
    settings, now = load(), datetime.now(UTC)
    judged = [Verdict.from_json(one) for one in verdicts] if verdicts else [_no_verdicts()]
    judged = [verdict for verdict in judged if verdict.condition not in NOT_MAILED]
    primary = S3AlertStore(connections.s3_client(), settings.storage)
    store, why = store_in_force(primary)
    if isinstance(store, VariableAlertStore):
        judged = [_with_subject(_monitor_blind(judged), "alert state in S3", why)]
    else:
        move_back(primary, now)

    # A layer's state may not be written yet when its model's task has succeeded: then the next tick ends the alert.
    still = {f"{verdict.condition}:{subject}" for verdict in judged for subject in verdict.subjects or ()}

    def change(state: AlertState) -> tuple[AlertState, list[Notice]]:
        after, new = alert_rules.advance(
            state, judged, now, settings.alert.reminder_after, run_link(settings, DAG_ID, run_id)
        )
        raised = [alert for alert in after.open.values() if alert.task]
        counts = {what: found for what in map(awaited, raised) if (found := count(*what)) is not None}
        late = {alert.run for alert in raised if alert.run}
        runs = {run: run_is for run in late if (run_is := state_of(run)) is not None}
        after, over = alert_rules.counted(after, counts, runs)
        after, ended = alert_rules.ended(after, [key for key in over if key not in still], now)
        after, reminded = alert_rules.reminded(after, now, settings.alert.reminder_after)
        return after, [*new, *ended, *reminded]

    return update(store, change)


def _no_verdicts() -> Verdict:
    text = "the publishing task died before it judged anything: see its log"
    return Verdict("monitor_blind", "breached", "1", "> 0", subjects={"the monitor itself": text})


def _monitor_blind(judged: Sequence[Verdict]) -> Verdict:
    return next((one for one in judged if one.condition == "monitor_blind"), _no_verdicts())


def _with_subject(verdict: Verdict, subject: str, text: str) -> Verdict:
    return Verdict(
        verdict.condition,
        "breached",
        verdict.value,
        verdict.threshold,
        subjects={**(verdict.subjects or {}), subject: text},
    )


def count(task: str, but_in: str) -> int | None:
    """How many instances of a task (`dag_id/task_id`) have succeeded, not counting a run (`dag_id/run_id`, or '')."""
    dag_id, _, task_id = task.partition("/")
    return successes(dag_id, task_id, but_in.partition("/")[2])


def state_of(run: str) -> str | None:
    """Airflow's state of a run (`dag_id/run_id`)."""
    dag_id, _, run_id = run.partition("/")
    found = run_state(dag_id, run_id)
    log.info("late run %s is %s", run, found or "not known")
    return found
