"""Whether the monitor itself is silent, judged outside of Airflow, where no CloudWatch does it. Pure: no clock.

The rule is that of the alarm `monitor_silent`: no sign of a run for its periods. A time in which nobody could have seen
a sign counts for nothing: before the start of the watch, while the machine slept, while S3 did not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec.structs

from include.catalogue import CONDITIONS, MONITOR_SILENT_AFTER
from include.instants import span, to_second
from include.monitoring.alerts.model import AlertState, Notice, OpenAlert
from include.monitoring.alerts.transitions import raise_alerts
from include.state.silences import Silences

CONDITION = CONDITIONS["monitor_silent"]
LONGEST_GAP = timedelta(minutes=3)
"""Looks are a minute apart. After a longer gap the watch begins again."""


@dataclass(frozen=True, slots=True)
class Watch:
    """An unbroken sequence of looks that could read the monitor's last verdicts: its begin, and its last look."""

    since: datetime
    looked_at: datetime

    def at(self, now: datetime) -> Watch:
        """The watch after a look at `now`."""
        return Watch(now, now) if now - self.looked_at > LONGEST_GAP else replace(self, looked_at=now)


def alert_of(judged_at: datetime | None, watch: Watch, stopped: Mapping[str, str]) -> OpenAlert | None:
    """The alert at the watch's last look, None while the monitor may be well.

    Args:
        judged_at: when the monitor's last run judged; None if none ever did.
        watch: the looks so far.
        stopped: programs of Airflow that do not run, with their state.
    """
    now, last = watch.looked_at, judged_at or watch.since
    if now - max(last, watch.since) < MONITOR_SILENT_AFTER:
        return None
    facts = [f"does not run: {name} ({state})" for name, state in sorted(stopped.items())] or [
        "every program of Airflow runs: the scheduler hangs, or pipeline_monitor is paused or has an import error"
    ]
    facts.append(f"last run that judged: {to_second(judged_at)}" if judged_at else "no run has judged yet")
    return OpenAlert.begin(
        CONDITION,
        now,
        value=f"no run for {span(now - last)}",
        threshold=f"no run for {span(MONITOR_SILENT_AFTER)}",
        details=tuple(facts),
        began_at=last,
    )


def raise_alone(
    state: AlertState, alert: OpenAlert, now: datetime, reminder_after: timedelta, silences: Silences
) -> tuple[AlertState, list[Notice]]:
    """The state after this alert was raised. Nothing is known about other alerts now, so they stay as they are."""
    own = {key: known for key, known in state.open.items() if key == alert.key}
    after, new = raise_alerts(msgspec.structs.replace(state, open=own), [alert], now, reminder_after, silences)
    return msgspec.structs.replace(after, open={**state.open, **after.open}), new
