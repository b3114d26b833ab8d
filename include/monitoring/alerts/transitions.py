"""Start and end of alerts, and the notices about them. Pure: no clock, no network.

    advance   alert state + verdicts + now   -> alert state, with new notices in its outbox

A notice is made when an alert starts, again after the reminder time, and when the alert is
over, not in each run of the monitor. An unknown condition opens no alert and closes no alert.
An alert that another one explains (`causes`) is listed in the notices about its cause instead. While an alert is
silenced no notice is made about it; when the silence ends and it is still open, one is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from msgspec import UNSET
from msgspec.structs import replace

from include.catalogue import CONDITIONS
from include.instants import to_text
from include.monitoring.alerts import causes
from include.monitoring.alerts.model import AlertState, Notice, NoticeKind, OpenAlert
from include.monitoring.checks.judge import Verdict
from include.state.silences import Silences, in_force

NONE_SILENCED: Silences = {}


@dataclass(slots=True)
class _Transition:
    """A state that is being changed, the new alerts without a notice, and the new notices."""

    now: datetime
    open: dict[str, OpenAlert]
    outbox: list[Notice]
    ended: dict[str, datetime]
    silences: Silences
    untold: list[str] = field(default_factory=list)
    over: list[OpenAlert] = field(default_factory=list)
    new: list[Notice] = field(default_factory=list)

    @classmethod
    def of(cls, state: AlertState, now: datetime, silences: Silences) -> _Transition:
        ended = {} if state.ended is UNSET else state.ended
        recent = {key: at for key, at in ended.items() if now - at < causes.AFTERMATH}
        return cls(now, dict(state.open), list(state.outbox), recent, silences)

    def is_silenced(self, key: str) -> bool:
        """Whether no notice is made about the alert now; it is noted with the alert."""
        silence = in_force(self.silences, key, self.now)
        if silence is not None:
            self.open[key] = replace(self.open[key], silenced=str(silence))
        return silence is not None

    def notify(self, kind: NoticeKind, alert: OpenAlert) -> None:
        identity = hashlib.sha256(f"{kind} {alert.key} {to_text(self.now)}".encode()).hexdigest()[:16]
        notice = Notice(identity, kind, alert, self.now)
        self.outbox.append(notice)
        self.new.append(notice)
        if still_open := self.open.get(alert.key):
            self.open[alert.key] = replace(still_open, mails=(still_open.mails or 0) + 1)

    def start_or_continue(self, alert: OpenAlert, reminder_after: timedelta) -> None:
        before = self.open.get(alert.key)
        if before is None:
            self.open[alert.key] = alert
            self.untold.append(alert.key)
            return
        worse = (before.severity, alert.severity) == ("warning", "error")
        due = before.cause is UNSET and (worse or self.now - before.notified_at >= reminder_after)
        due = due and not before.untold and not self.is_silenced(alert.key)
        before = self.open[alert.key]
        continued = replace(
            alert,
            since=before.since,
            began_at=before.began_at,
            notified_at=self.now if due else before.notified_at,
            raised_by=before.raised_by,
            # The link and the details are of the same run. The monitor's own run does not replace that of a task.
            run_url=alert.run_url if alert.task or not before.task else before.run_url,
            task=before.task,
            successes=before.successes,
            run=before.run,
            cause=before.cause,
            effects=before.effects,
            thread=before.thread,
            silenced=before.silenced,
            untold=before.untold,
            mails=before.mails,
        )
        if alert.run and alert.run != before.run:  # another run of the DAG is late now: from now on that run counts
            continued = replace(continued, successes=None, run=alert.run)
        if worse and continued.cause is not UNSET:  # its cause may explain only the warning
            continued = replace(continued, cause=UNSET)
            self.untold.append(alert.key)
        self.open[alert.key] = continued
        if due:
            self.notify("start" if worse else "reminder", continued)

    def end(self, key: str) -> None:
        self.over.append(self.open.pop(key))

    def result(self) -> tuple[AlertState, list[Notice]]:
        """Make a notice about each new alert that no other one explains; the others are listed under their cause."""
        self._find_alerts_to_tell_now()
        for alert in self.over:
            self.ended[alert.key] = self.now
        told = []
        for key, cause in causes.assign([self.open[key] for key in self.untold], self.open, self.ended):
            if cause is None:
                self.open[key] = replace(self.open[key], notified_at=self.now, cause=UNSET)
                told.append(key)
            else:
                self.open[key] = replace(self.open[key], cause=cause)
        self.open = causes.with_effects(self.open, self.over, self.now)
        for key in told:
            self._tell_start(key)
        for alert in self.over:
            if alert.cause is UNSET and not alert.untold:
                self.notify("recovery", causes.at_its_end(alert, self.over, self.now))
        return AlertState(self.open, tuple(self.outbox), self.ended or UNSET), self.new

    def _find_alerts_to_tell_now(self) -> None:
        """Alerts that were open without a notice: they outlive their cause, or their silence has ended."""
        for key, alert in self.open.items():
            if key in self.untold:
                continue
            if alert.cause is not UNSET and not self._explained_by(alert.cause):
                self.open[key] = replace(alert, cause=UNSET)
                self.untold.append(key)
            elif alert.untold and in_force(self.silences, key, self.now) is None:
                self.untold.append(key)

    def _tell_start(self, key: str) -> None:
        if self.is_silenced(key):
            self.open[key] = replace(self.open[key], untold=True)
            return
        self.open[key] = replace(self.open[key], untold=UNSET)
        self.notify("start", self.open[key])

    def _explained_by(self, cause: str) -> bool:
        """Whether the cause is still open, or ended only a moment ago."""
        return cause in self.open or cause in self.ended or any(alert.key == cause for alert in self.over)


def advance(
    state: AlertState,
    verdicts: Sequence[Verdict],
    now: datetime,
    reminder_after: timedelta,
    run_url: str = "",
    silences: Silences = NONE_SILENCED,
) -> tuple[AlertState, list[Notice]]:
    """The state after these verdicts, and the notices that are new in it (they are in its outbox too)."""
    transition = _Transition.of(state, now, silences)
    for verdict in verdicts:
        if verdict.outcome == "unknown":
            continue
        current = {alert.key: alert for alert in _alerts(verdict, now, run_url)}
        for alert in current.values():
            transition.start_or_continue(alert, reminder_after)
        for key in _over(verdict, transition.open, current):
            transition.end(key)
    return transition.result()


def _alerts(verdict: Verdict, now: datetime, run_url: str) -> list[OpenAlert]:
    if verdict.outcome != "breached":
        return []
    condition, limit = CONDITIONS[verdict.condition], verdict.threshold
    if not verdict.subjects:
        alert = OpenAlert.begin(
            condition, now, value=verdict.value, threshold=limit, details=verdict.details, began_at=verdict.began_at
        )
        return [replace(alert, run_url=run_url)]
    value = f"{verdict.value} in all" if len(verdict.subjects) > 1 else verdict.value
    return [
        replace(
            OpenAlert.begin(
                condition,
                now,
                name,
                value=value,
                threshold=limit,
                details=(subject.line,),
                severity=subject.severity,
                began_at=subject.began_at,
            ),
            run_url=subject.run_url or run_url,
        )
        for name, subject in verdict.subjects.items()
    ]


def _over(verdict: Verdict, open_alerts: Mapping[str, OpenAlert], current: Mapping[str, OpenAlert]) -> list[str]:
    """Keys of open alerts of the verdict's condition that the verdict does not contain.

    An alert that a failed task raised is not over when the monitor does not see its cause: a
    layer's state does not include tests across layers. It is over when the task succeeds. An
    alert that began after the facts were established stays open until newer facts exist.
    """
    return [
        key
        for key, alert in open_alerts.items()
        if alert.condition == verdict.condition
        and key not in current
        and not alert.task
        and (verdict.as_of is None or alert.since <= verdict.as_of)
    ]


def raise_alerts(
    state: AlertState,
    alerts: Sequence[OpenAlert],
    now: datetime,
    reminder_after: timedelta,
    silences: Silences = NONE_SILENCED,
) -> tuple[AlertState, list[Notice]]:
    """The state after a failure callback raised `alerts`; an alert that is open already makes no new notice."""
    transition = _Transition.of(state, now, silences)
    for alert in alerts:
        transition.start_or_continue(_apart(alert, transition.open), reminder_after)
    return transition.result()


def _apart(alert: OpenAlert, open_alerts: Mapping[str, OpenAlert]) -> OpenAlert:
    """The alert, with a key of its own when its task has an open alert for another reason."""
    before = open_alerts.get(alert.key)
    if before is None or alert.condition != "task_failed" or _reason(before) == _reason(alert):
        return alert
    return replace(alert, key=f"{alert.key}#{hashlib.sha256(_reason(alert).encode()).hexdigest()[:8]}")


def _reason(alert: OpenAlert) -> str:
    """Why a task failed: the first line of its error, without numbers, ids and quoted values, which differ by run."""
    first = alert.details[0].partition("\n")[0] if alert.details else ""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\b[0-9a-f-]{8,}\b|\d+", "#", first.lower())


def remind(
    state: AlertState, now: datetime, reminder_after: timedelta, silences: Silences = NONE_SILENCED
) -> tuple[AlertState, list[Notice]]:
    """The state with reminders of alerts that no verdict repeats, because a failed task or a late run raised them."""
    transition = _Transition.of(state, now, silences)
    for key, alert in state.open.items():
        due = alert.task and alert.cause is UNSET and not alert.untold and now - alert.notified_at >= reminder_after
        if due and not transition.is_silenced(key):
            transition.open[key] = replace(alert, notified_at=now)
            transition.notify("reminder", transition.open[key])
    return transition.result()


def end_alerts(
    state: AlertState, keys: Sequence[str], now: datetime, silences: Silences = NONE_SILENCED
) -> tuple[AlertState, list[Notice]]:
    """The state after the end of the alerts `keys`; a key that is not open is ignored."""
    transition = _Transition.of(state, now, silences)
    for key in keys:
        if key in transition.open:
            transition.end(key)
    return transition.result()


Awaited: TypeAlias = tuple[str, str]
"""A task (`dag_id/task_id`) whose next success ends an alert, and the run in which a success does not count, or ''."""


def awaited_success(alert: OpenAlert) -> Awaited:
    """The success that ends an alert of a failed task or a late run."""
    return alert.task, alert.run or ""


def count_successes(
    state: AlertState, counts: Mapping[Awaited, int], runs: Mapping[str, str] | None = None
) -> tuple[AlertState, list[str]]:
    """Find the open alerts that are over because their task has succeeded since (`counts`: number of its successes).

    An alert about a late run (`runs`: Airflow's state by run) is also over when the late run itself ends well, never
    before that run has ended. Tasks of a late run can succeed while it hangs, so only other runs are counted.
    Returns the state with a count noted for each alert that had no count, and the keys of the alerts that are over.
    """
    open_alerts, over = dict(state.open), []
    for key, alert in state.open.items():
        run_state = (runs or {}).get(alert.run or "")
        if run_state == "success":
            over.append(key)
            continue
        count = counts.get(awaited_success(alert))
        if count is None:
            continue
        if alert.successes is None or count < alert.successes:  # a smaller count: old runs were deleted
            open_alerts[key] = replace(alert, successes=count)
        elif count > alert.successes and run_state not in {"queued", "running"}:
            over.append(key)
    return replace(state, open=open_alerts), over


CLAIM = timedelta(minutes=4)
"""For this time only the sender that claimed a notice may send it; later another sender may claim it, after a crash.
It is longer than a sender waits for a mail server (`connections.PATIENCE_SECONDS`)."""
EAGER_ATTEMPTS = 3
RETRY_AFTER, PUNCTUAL = timedelta(minutes=15), timedelta(minutes=1)
"""After so many failed attempts, one in each run of the monitor, the next ones are this far apart, less a minute: a run
of the monitor may be a little early."""


def claim(state: AlertState, now: datetime) -> tuple[AlertState, list[Notice]]:
    """Claim every notice that is due and that no process is sending; returns the state, and the claimed notices.

    Notices that are tried for the first time become one mail, whose id each later attempt repeats.
    """
    due = [notice for notice in state.outbox if _is_free(notice, now) and (notice.retry_at or now) <= now]
    first = [notice.id for notice in due if notice.batch is UNSET]
    batch = first[0] if len(first) == 1 else hashlib.sha256(" ".join(first).encode()).hexdigest()[:16]
    claimed = {
        notice.id: replace(notice, claimed_until=now + CLAIM, attempts=notice.attempts + 1, batch=notice.batch or batch)
        for notice in due
    }
    outbox = tuple(claimed.get(notice.id, notice) for notice in state.outbox)
    starts = {notice.alert.key: notice.batch for notice in claimed.values() if notice.kind == "start"}
    opened = {key: replace(alert, thread=starts.get(key, alert.thread)) for key, alert in state.open.items()}
    return replace(state, open=opened, outbox=outbox), list(claimed.values())


def undelivered(state: AlertState, now: datetime) -> list[Notice]:
    """Notices that were refused, or whose sender died. Notices that are being sent now do not count."""
    return [notice for notice in state.outbox if notice.attempts and _is_free(notice, now)]


def _is_free(notice: Notice, now: datetime) -> bool:
    """Whether no process is sending the notice."""
    return notice.claimed_until is None or notice.claimed_until <= now


def mark_delivered(state: AlertState, ids: Sequence[str]) -> AlertState:
    """The state without the notices that a mail server has accepted."""
    return replace(state, outbox=tuple(notice for notice in state.outbox if notice.id not in ids))


def mark_refused(state: AlertState, ids: Sequence[str], error: str) -> AlertState:
    """The state without the claim on the notices `ids`: a later run of the monitor tries again."""

    def refused(notice: Notice) -> Notice:
        free = replace(notice, claimed_until=None, last_error=error, retry_at=UNSET)
        if notice.attempts < EAGER_ATTEMPTS or notice.claimed_until is None:
            return free
        return replace(free, retry_at=notice.claimed_until - CLAIM + RETRY_AFTER - PUNCTUAL)

    return replace(state, outbox=tuple(refused(notice) if notice.id in ids else notice for notice in state.outbox))
