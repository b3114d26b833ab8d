"""The steps of the monitor DAG: the work of each of its tasks, with Airflow's connections.

The pure decisions are in `monitoring/checks/verdicts.py` and `monitoring/alerts/transitions.py`,
the measurement of each source in `monitoring/checks/measure.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import UNSET
from msgspec.structs import replace

from include.catalogue import METRICS
from include.monitoring.alerts import transitions
from include.monitoring.alerts.model import AlertState, Notice, OpenAlert
from include.monitoring.alerts.store import S3AlertStore, update
from include.monitoring.checks import cloudwatch, measure, thresholds
from include.monitoring.checks.judge import Subject, Verdict
from include.monitoring.checks.measurements import (
    SOURCES,
    ConsumerMeasurement,
    LayersMeasurement,
    Measurement,
    Measurements,
    Source,
)
from include.monitoring.checks.verdicts import newest_windows, numbers, verdicts, with_learned
from include.on_airflow import connections, dag_runs, runs, silencing
from include.on_airflow.fallback_store import VariableAlertStore, move_back, store_in_force
from include.reasons import reason_of
from include.settings import Settings, StorageSettings, load
from include.state import judged as judged_state
from include.state import monitor_numbers, past_alerts
from include.state.json_object import StateUnreadableError
from include.state.judged import Judged, JudgedConditions
from include.state.monitor_numbers import MonitorNumbers, Number
from include.state.past_alerts import PastAlert

log = logging.getLogger(__name__)

DAG_ID = "pipeline_monitor"
RUNS = Verdict("monitor_silent", "ok", "", "")
"""A run that judges is the proof that the monitor is not silent. On a laptop that alert is in the alert state."""
NOT_MAILED = {"notices_undelivered"}
"""Conditions that only the board and CloudWatch show: a mail about them would arrive when they are over."""


def measure_source(source: Source) -> Measurement:
    """Measure one source.

    Raises:
        Exception: the error of the source's client; nothing is measured then.
    """
    settings, now = load(), datetime.now(UTC)
    measurement: Measurement
    if source == "kafka":
        probe = connections.offset_probe(settings.kafka.group)
        measurement = measure.kafka(connections.kafka_admin(), probe, connections.s3_client(), settings, now)
    elif source == "objects":
        measurement = measure.landed(connections.s3_client(), settings, now)
    elif source == "layers":
        measurement = _measure_layers(settings, now)
    elif source == "dags":
        measurement = dag_runs.measure(connections.s3_client(), settings, now)
    else:
        measurement = measure.consumer(connections.cloudwatch_client(), settings, now)
    log.info("measured %s: %s", source, measurement)
    return measurement


def _measure_layers(settings: Settings, now: datetime) -> LayersMeasurement:
    s3 = connections.s3_client()
    try:
        state, _ = S3AlertStore(s3, settings.storage).load()
    except StateUnreadableError as fault:
        log.error("the number of undelivered notices is not known: %s", fault)
        return measure.layers(s3, settings, None, "", now)
    undelivered = len(transitions.undelivered(state, now))
    error = next((notice.last_error for notice in state.outbox if notice.last_error), "")
    return measure.layers(s3, settings, undelivered, error, now)


def publish_and_judge(
    measured: Measurements, faults: Mapping[str, str | None], variable: str | None
) -> tuple[list[Verdict], str]:
    """Publish the known numbers, and judge every condition.

    `faults` has the error of each measuring task, `variable` the content of the Variable `monitor_thresholds`.
    Returns the verdicts and, when CloudWatch did not take the numbers, the reason.
    """
    settings = load()
    failed = [source for source in SOURCES if getattr(measured, source) is None]
    blind: dict[str, str] = {source: faults.get(source) or "its measuring task failed" for source in failed}
    if measured.layers and measured.layers.unreadable:
        blind["content"] = "; ".join(measured.layers.unreadable.values())
    limits, threshold_faults = thresholds.in_force(variable)
    if threshold_faults:
        blind["thresholds"] = "; ".join(threshold_faults)
    refusal = _publish(numbers(measured, blind), settings)
    if refusal:
        blind["publish"] = refusal  # the check counts this source; the published number cannot
    _keep_numbers(settings.storage, numbers(measured, blind), measured.consumer, limits, refusal)
    judged = verdicts(measured, blind, limits)
    for verdict in judged:
        log.info("condition=%s outcome=%s %s", verdict.condition, verdict.outcome, verdict.sentence)
    return judged, refusal


def _publish(data: Sequence[cloudwatch.Datum], settings: Settings) -> str:
    """Publish and log the numbers; returns the reason when CloudWatch did not take them."""
    for datum in data:
        layer = f" layer={datum.layer}" if datum.layer else ""
        log.info("metric=%s%s value=%s unit=%s", datum.metric, layer, datum.value, METRICS[datum.metric].unit)
    monitor = settings.monitor
    try:
        client = connections.cloudwatch_client()
        cloudwatch.publish(client, monitor.namespace, monitor.environment, data, datetime.now(UTC))
    except (ClientError, BotoCoreError) as error:
        refusal = reason_of(error)
        log.error("cloudwatch status=failed namespace=%s error=%s", monitor.namespace, refusal)
        return refusal
    return ""


def _keep_numbers(
    storage: StorageSettings,
    data: Sequence[cloudwatch.Datum],
    consumer: ConsumerMeasurement | None,
    limits: Mapping[str, thresholds.Threshold],
    refusal: str,
) -> None:
    """Write the numbers of this run for Prometheus; checks and mails do not need it, so an error is only logged.

    Distributions are not among them: the layer states have their percentiles.
    """
    known = [datum for datum in (*data, *newest_windows(consumer)) if not datum.counts]
    kept = tuple(
        Number(datum.metric, datum.value, datum.layer)
        for datum in known
        if not (refusal and datum.metric == "MonitorHeartbeat")  # it says that CloudWatch was reached
    )
    in_force = {name: limit.value for name, limit in with_learned(limits, consumer).items()}
    try:  # with the page's short patience: nobody waits for it, and the next run writes it again
        monitor_numbers.write(connections.page_s3_client(), storage, MonitorNumbers(datetime.now(UTC), kept, in_force))
    except (ClientError, BotoCoreError) as error:
        log.error("Prometheus does not get these numbers; checks and mails are not affected: %s", reason_of(error))


def update_alerts(judged: Sequence[Verdict], run_id: str) -> list[Notice]:
    """Bring the alert state up to date; returns the notices that are new. They wait in the outbox.

    Without verdicts (the publishing task died) the only verdict is that the monitor itself is blind.
    """
    settings, now = load(), datetime.now(UTC)
    verdicts_of_all = judged or [_NO_VERDICTS]
    judged = [verdict for verdict in verdicts_of_all if verdict.condition not in NOT_MAILED]
    primary = S3AlertStore(connections.s3_client(), settings.storage)
    store, fault = store_in_force(primary)
    if isinstance(store, VariableAlertStore):
        blind = next((verdict for verdict in judged if verdict.condition == "monitor_blind"), _NO_VERDICTS)
        subjects = {**(blind.subjects or {}), "alert state in S3": Subject(fault)}
        judged = [replace(blind, outcome="breached", subjects=subjects)]
    else:
        move_back(primary, now)
        judged = [*judged, RUNS]
        _keep_verdicts(settings.storage, verdicts_of_all, now)
    silenced = silencing.known(connections.s3_client(), settings.storage)
    reminder_after, run_url = settings.alert.reminder_after, runs.link(settings.alert, DAG_ID, run_id)

    # A layer's state may not be written yet when its model's task has succeeded: then the next run ends the alert.
    breached = {f"{verdict.condition}:{subject}" for verdict in judged for subject in verdict.subjects or ()}

    def change(state: AlertState) -> tuple[AlertState, tuple[list[Notice], list[OpenAlert]]]:
        after, new = transitions.advance(state, judged, now, reminder_after, run_url, silenced)
        after, over = transitions.count_successes(after, _successes(after), _late_runs(after))
        after, ended = transitions.end_alerts(after, [key for key in over if key not in breached], now, silenced)
        after, reminded = transitions.remind(after, now, reminder_after, silenced)
        gone = [alert for key, alert in state.open.items() if key not in after.open]
        return after, ([*new, *ended, *reminded], gone)

    notices, gone = update(store, change)
    _keep_past(settings.storage, gone, now)
    return notices


def _keep_past(storage: StorageSettings, gone: Sequence[OpenAlert], now: datetime) -> None:
    """Write the alerts that are over for Pipeline Health; an error of S3 is only logged."""
    over = [
        PastAlert(
            alert.key, alert.condition, alert.severity, alert.title, alert.begin_at, now, alert.value,
            "" if alert.cause is UNSET else alert.cause,
        )
        for alert in gone
    ]  # fmt: skip
    try:
        past_alerts.add(connections.s3_client(), storage, over, now)
    except (ClientError, BotoCoreError) as error:
        log.error("Pipeline Health does not get the alerts that are over; mails are not affected: %s", reason_of(error))


def _keep_verdicts(storage: StorageSettings, verdicts_of_all: Sequence[Verdict], now: datetime) -> None:
    """Write every verdict for Pipeline Health; the mails do not need it, so an error of S3 is only logged."""
    conditions = {one.condition: Judged(one.outcome, one.value, one.details) for one in verdicts_of_all}
    try:
        judged_state.write(connections.s3_client(), storage, JudgedConditions(now, conditions))
    except (ClientError, BotoCoreError) as error:
        log.error("Pipeline Health does not get these verdicts; mails are not affected: %s", reason_of(error))


_NO_VERDICTS = Verdict(
    "monitor_blind",
    "breached",
    "1",
    "> 0",
    subjects={"the monitor itself": Subject("the publishing task died before it judged anything: see its log")},
)


def _successes(state: AlertState) -> dict[transitions.Awaited, int]:
    """The number of successes of every task that an open alert waits for, where Airflow can be asked."""
    awaited = {transitions.awaited_success(alert) for alert in state.open.values() if alert.task}
    counts = {(task, late_run): runs.successes(task, late_run) for task, late_run in awaited}
    return {key: count for key, count in counts.items() if count is not None}


def _late_runs(state: AlertState) -> dict[str, str]:
    """The state of every late run, where Airflow can be asked."""
    states = {alert.run: runs.run_state(alert.run) for alert in state.open.values() if alert.run}
    for run, run_state in states.items():
        log.info("late run %s is %s", run, run_state or "not known")
    return {run: run_state for run, run_state in states.items() if run_state is not None}
