"""Which alert is the cause of which. Pure: no clock, no network.

The catalogue says which conditions explain a condition (`Condition.explained_by`). An alert that is explained by an
open alert is its consequence: it is listed under its cause and not mailed by itself. An alert that is detected a moment
after the end of a cause, but began before it by the evidence, still belongs to it: the uploads that were repeated are
counted only when S3 works again. A consequence that outlives its cause by `AFTERMATH` becomes an alert of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from msgspec import UNSET
from msgspec.structs import replace

from include.catalogue import CONDITIONS, MONITOR_SECONDS, metric_of
from include.monitoring.alerts.model import Effect, OpenAlert

AFTERMATH = timedelta(seconds=3 * MONITOR_SECONDS)
"""The longest window of a condition: after this time every number is of the time after the cause."""
MOST_EFFECTS = 40
"""Consequences that an alert keeps at most, for example of many failing tests."""
EVIDENCE_SLACK = timedelta(minutes=2)
"""The consumer publishes its numbers each minute, and CloudWatch dates them by the minute."""
HEAD_START = timedelta(minutes=30)
"""A consequence may have begun this much before its cause by the evidence: the newest quote of a layer is some minutes
old when the cause begins. An older one has another reason. What begins together with a cause begins within this time
after it."""


def explains(cause: str, task: str, alert: OpenAlert) -> bool:
    """Whether the alert with the key `cause`, raised by `task` (`dag_id/task_id` or ''), explains `alert`."""
    subject = alert.key.partition(":")[2]
    if cause == alert.key:
        return False
    if cause.startswith("dbt_tests:") and alert.condition == "dag_unhealthy" and task.partition("/")[0] != subject:
        return False  # the test failed in another DAG, or nobody knows in which
    words = {"subject": subject, "last": subject.rpartition(" ")[2]}
    patterns = (pattern.format(**words) for pattern in CONDITIONS[alert.condition].explained_by)
    return any(fnmatchcase(cause, pattern) for pattern in patterns)


def assign(
    new: Sequence[OpenAlert], open_alerts: Mapping[str, OpenAlert], ended: Mapping[str, datetime]
) -> Iterator[tuple[str, str | None]]:
    """The key of each new alert with that of its cause, None for an alert that has none; causes come first.

    A cause is itself unexplained: the consequence of a consequence belongs to the first cause.
    """
    waiting = list(new)
    roots: dict[str, str] = {}
    for key, alert in open_alerts.items():
        if not any(alert is other for other in new):
            roots[key] = key if alert.cause is UNSET else alert.cause
    while waiting:
        alert = _first(waiting)
        waiting.remove(alert)
        known = [open_alerts[key] for key in roots]
        cause = next((roots[other.key] for other in known if is_cause(other, alert)), None)
        if cause is None:
            slack = _slack(alert)
            lately = (key for key, at in ended.items() if key not in roots and alert.begin_at <= at + slack)
            cause = next((key for key in lately if explains(key, "", alert)), None)
        roots[alert.key] = cause or alert.key
        yield alert.key, cause


def _slack(alert: OpenAlert) -> timedelta:
    """How much later than it was the evidence of an alert may be dated."""
    metric = metric_of(CONDITIONS[alert.condition])
    return EVIDENCE_SLACK if metric is not None and metric.publisher == "consumer" else timedelta()


def is_cause(other: OpenAlert, alert: OpenAlert) -> bool:
    """Whether an open alert explains `alert`, by the catalogue, the severities and the times of the evidence.

    A warning may stay open for days, and nobody is sent to it at night: it explains no error. A source that cannot be
    read (it may be one setting or one right), a stopped partition, and an alert of the same kind explain only what
    began with them.
    """
    if other.severity == "warning" and alert.severity == "error":
        return False
    after = alert.begin_at - other.begin_at
    together = other.condition in {"monitor_blind", "partitions_stopped", alert.condition}
    return explains(other.key, other.task, alert) and after >= -HEAD_START and not (together and after > HEAD_START)


def _first(alerts: Sequence[OpenAlert]) -> OpenAlert:
    """The first alert that no other one of another condition explains; the first of all without such a one."""
    for alert in alerts:
        if not any(is_cause(other, alert) for other in alerts if other.condition != alert.condition):
            return alert
    return alerts[0]


def with_effects(
    open_alerts: Mapping[str, OpenAlert], over: Iterable[OpenAlert], now: datetime
) -> dict[str, OpenAlert]:
    """The open alerts, each with its present consequences. `over` are the alerts that end now."""
    alerts = dict(open_alerts)
    for alert in open_alerts.values():
        if alert.cause is not UNSET and alert.cause in alerts:
            alerts[alert.cause] = _noted(alerts[alert.cause], alert, None)
    for alert in over:
        if alert.cause is not UNSET and alert.cause in alerts:
            alerts[alert.cause] = _noted(alerts[alert.cause], alert, now)
    return alerts


def at_its_end(
    alert: OpenAlert, open_alerts: Mapping[str, OpenAlert], over: Iterable[OpenAlert], now: datetime
) -> OpenAlert:
    """An alert that ends now, with its consequences that are still open or end in the same run."""
    for other in open_alerts.values():
        if other.cause == alert.key:
            alert = _noted(alert, other, None)
    for other in over:
        if other.cause == alert.key:
            alert = _noted(alert, other, now)
    return alert


def _noted(cause: OpenAlert, alert: OpenAlert, ended_at: datetime | None) -> OpenAlert:
    before = () if cause.effects is UNSET else cause.effects
    effect = Effect(alert.key, alert.severity, alert.title, alert.value, alert.begin_at, ended_at)
    if any(known.key == alert.key for known in before):
        effects = tuple(effect if known.key == alert.key else known for known in before)
    else:
        effects = (*before, effect)[:MOST_EFFECTS]
    return replace(cause, effects=effects)
