"""When an alert starts and ends, and which notices that makes. Pure: no clock, no network.

    advance   alert state + verdicts + now   -> alert state, with new notices in its outbox

A notice is made when a condition starts, again after the reminder time, and when it is
over; never once a tick. Unknown opens nothing and closes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from include.catalogue import CONDITIONS
from include.instants import to_text
from include.monitoring.alerts.model import AlertState, Notice, NoticeKind, OpenAlert
from include.monitoring.checks.judge import Verdict


@dataclass(slots=True)
class _Change:
    """The state being advanced."""

    now: datetime
    open: dict[str, OpenAlert]
    outbox: list[Notice]
    new: list[Notice] = field(default_factory=list)

    def tell(self, kind: NoticeKind, alert: OpenAlert) -> None:
        mark = hashlib.sha256(f"{kind} {alert.key} {to_text(self.now)}".encode()).hexdigest()[:16]
        notice = Notice(mark, kind, alert, self.now)
        self.outbox.append(notice)
        self.new.append(notice)

    def start_or_continue(self, alert: OpenAlert, reminder_after: timedelta) -> None:
        known = self.open.get(alert.key)
        if known is None:
            self.open[alert.key] = alert
            self.tell("start", alert)
            return
        due = self.now - known.notified_at >= reminder_after
        going_on = replace(
            alert,
            since=known.since,
            notified_at=self.now if due else known.notified_at,
            raised_by=known.raised_by,
            run_url=known.run_url or alert.run_url,
            task=known.task,
            successes=known.successes,
            run=known.run,
        )
        if alert.run not in ("", known.run):  # another run of the DAG is late now: that one counts from here on
            going_on = replace(going_on, run_url=alert.run_url, successes=None, run=alert.run)
        self.open[alert.key] = going_on
        if due:
            self.tell("reminder", going_on)

    def end(self, key: str) -> None:
        self.tell("recovery", self.open.pop(key))

    def done(self) -> AlertState:
        return AlertState(self.open, tuple(self.outbox))


def advance(
    state: AlertState, verdicts: Sequence[Verdict], now: datetime, reminder_after: timedelta, run_url: str = ""
) -> tuple[AlertState, list[Notice]]:
    """The state after this tick, and the notices that are new in it (they are in its outbox too)."""
    change = _Change(now, dict(state.open), list(state.outbox))
    for verdict in verdicts:
        if verdict.outcome == "unknown":
            continue
        current = {alert.key: alert for alert in _alerts(verdict, now, run_url)}
        for alert in current.values():
            change.start_or_continue(alert, reminder_after)
        for key in _over(verdict, change.open, current):
            change.end(key)
    return change.done(), change.new


def _alerts(verdict: Verdict, now: datetime, run_url: str) -> list[OpenAlert]:
    if verdict.outcome != "breached":
        return []
    one = CONDITIONS[verdict.condition]
    whole = OpenAlert(
        one.name,
        one.name,
        one.severity,
        one.title,
        now,
        now,
        verdict.value,
        verdict.threshold,
        verdict.details,
        run_url,
    )
    if not verdict.subjects:
        return [whole]
    value = verdict.value if len(verdict.subjects) == 1 else f"{verdict.value} in all"
    return [
        replace(whole, key=f"{one.name}:{subject}", title=f"{one.title}: {subject}", value=value, details=(line,))
        for subject, line in verdict.subjects.items()
    ]


def _over(verdict: Verdict, is_open: Mapping[str, OpenAlert], current: Mapping[str, OpenAlert]) -> list[str]:
    """Open alerts of the verdict's condition that it no longer finds.

    One that a failed task raised is over when that task succeeds, not when the monitor does
    not see it: a layer's state knows nothing of tests across layers. One that began after the
    facts were established stays open until they are newer.
    """
    return [
        key
        for key, alert in is_open.items()
        if alert.condition == verdict.condition
        and key not in current
        and not alert.task
        and (verdict.as_of is None or alert.since <= verdict.as_of)
    ]


def raised(
    state: AlertState, alerts: Sequence[OpenAlert], now: datetime, reminder_after: timedelta
) -> tuple[AlertState, list[Notice]]:
    """The state after a failure callback raised `alerts`; one that is open already makes no new notice."""
    change = _Change(now, dict(state.open), list(state.outbox))
    for alert in alerts:
        change.start_or_continue(alert, reminder_after)
    return change.done(), change.new


def reminded(state: AlertState, now: datetime, reminder_after: timedelta) -> tuple[AlertState, list[Notice]]:
    """The state after reminding of what no verdict repeats: alerts that a failed task or a late run has raised."""
    change = _Change(now, dict(state.open), list(state.outbox))
    for key, alert in state.open.items():
        if alert.task and now - alert.notified_at >= reminder_after:
            change.open[key] = replace(alert, notified_at=now)
            change.tell("reminder", change.open[key])
    return change.done(), change.new


def ended(state: AlertState, keys: Sequence[str], now: datetime) -> tuple[AlertState, list[Notice]]:
    """The state after the alerts `keys` are over (those that are open)."""
    change = _Change(now, dict(state.open), list(state.outbox))
    for key in keys:
        if key in change.open:
            change.end(key)
    return change.done(), change.new


Awaited: TypeAlias = tuple[str, str]
"""A task (`dag_id/task_id`) whose next success ends an alert, and the run whose success does not count, or ''."""


def awaited(alert: OpenAlert) -> Awaited:
    """What an alert that a task or a late run has raised waits for."""
    return alert.task, alert.run


def counted(
    state: AlertState, counts: Mapping[Awaited, int], runs: Mapping[str, str] | None = None
) -> tuple[AlertState, list[str]]:
    """Which open alerts are over because their task has succeeded since (`counts`: its successes).

    One about a late run (`runs`: Airflow's state by run) is also over when that very run ends well, and never before
    it has ended. Its own tasks' successes prove nothing: those of other runs are counted.
    Returns the state with a count noted for each alert that had none, and the keys that are over.
    """
    is_open, over = dict(state.open), []
    for key, alert in state.open.items():
        run_state = (runs or {}).get(alert.run)
        if run_state == "success":
            over.append(key)
            continue
        count = counts.get(awaited(alert))
        if count is None:
            continue
        if alert.successes is None or count < alert.successes:  # fewer: old runs were cleaned away
            is_open[key] = replace(alert, successes=count)
        elif count > alert.successes and run_state not in {"queued", "running"}:
            over.append(key)
    return AlertState(is_open, state.outbox), over


CLAIM = timedelta(minutes=2)
"""How long a sender has a notice to itself; after a crash the next one takes it."""


def claim(state: AlertState, now: datetime) -> tuple[AlertState, list[Notice]]:
    """Mark every notice that nobody is sending as being sent, and return them."""
    mine: list[Notice] = []
    outbox: list[Notice] = []
    for notice in state.outbox:
        if notice.claimed_until is None or notice.claimed_until <= now:
            claimed = replace(notice, claimed_until=now + CLAIM, attempts=notice.attempts + 1)
            mine.append(claimed)
            outbox.append(claimed)
        else:
            outbox.append(notice)
    return AlertState(state.open, tuple(outbox)), mine


def undelivered(state: AlertState, now: datetime) -> list[Notice]:
    """Notices that somebody has tried to send in vain: refused, or the sender died. Not those being sent now."""
    return [
        notice
        for notice in state.outbox
        if notice.attempts and (notice.claimed_until is None or notice.claimed_until <= now)
    ]


def delivered(state: AlertState, ids: Sequence[str]) -> AlertState:
    """The state without the notices that a mail server has taken."""
    return AlertState(state.open, tuple(notice for notice in state.outbox if notice.id not in ids))


def refused(state: AlertState, ids: Sequence[str], error: str) -> AlertState:
    """The state with the claim on `ids` given back: the next tick tries again."""
    return AlertState(
        state.open,
        tuple(
            replace(notice, claimed_until=None, last_error=error) if notice.id in ids else notice
            for notice in state.outbox
        ),
    )
