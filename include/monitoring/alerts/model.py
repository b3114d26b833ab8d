"""The alert state: the open alerts, and the notices that wait to be delivered.

One object for the whole pipeline (`state/alerts.json`), shared by the monitor and by the
failure callbacks of the other DAGs, so that nobody gets the same notice twice. It holds an
outbox: a notice is written here together with the transition that causes it, and is removed when a
mail server has accepted it. So a crash or a broken mail server delays a mail but does not lose it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Self

import msgspec
from msgspec import UNSET, UnsetType

from include.catalogue import CONDITIONS, Condition, Severity
from include.instants import Instant
from include.monitoring.checks.thresholds import FROM_CATALOGUE

NoticeKind = Literal["start", "reminder", "recovery"]


class Effect(msgspec.Struct, frozen=True):
    """A consequence of an alert: an alert of its own right that is not mailed while its cause explains it."""

    key: str
    severity: Severity
    title: str
    value: str
    began_at: Instant
    ended_at: Instant | None = None

    @property
    def condition(self) -> str:
        """The name of the condition."""
        return self.key.partition(":")[0]


class OpenAlert(msgspec.Struct, frozen=True):
    """One condition (or one failing test, or one failed task) that is open now.

    `key` is the condition's name, followed by `:subject` where one condition can be open
    for several tests, tasks or sources. `value` and `threshold` are the newest ones, as texts with units.
    """

    key: str
    condition: str
    severity: Severity
    title: str
    since: Instant
    notified_at: Instant
    value: str = ""
    threshold: str = ""
    details: tuple[str, ...] = ()
    run_url: str = ""
    raised_by: str = "pipeline_monitor"
    task: str = ""
    """`dag_id/task_id` of the failed task that raised the alert; the alert is over when the task has succeeded again.
    For a late run this is the run's first task; its success in another run ends the alert, too."""
    successes: int | None = None
    """Number of the task's instances that had succeeded when the alert began, without `run`; None: not known yet."""
    run: str | UnsetType = UNSET
    """`dag_id/run_id` of a late run; the alert is over when the run ends well, and never before the run ends.
    Other alerts do not have this field: version 0.1.0 and earlier refuse a field that they do not know."""
    began_at: Instant | UnsetType = UNSET
    """Time of the first evidence, where it is known; `since` is the time of the detection."""
    cause: str | UnsetType = UNSET
    """Key of the alert that explains this one: no notice was made about this one so far."""
    effects: tuple[Effect, ...] | UnsetType = UNSET
    """The alerts that this one explains or explained, in the order in which they began."""
    thread: str | UnsetType = UNSET
    """Id of the mail about its start: the later mails about it are replies to that one."""

    silenced: str | UnsetType = UNSET
    """The silence because of which no mail was sent lately, as a text. A mail that is sent afterwards shows it."""
    untold: bool | UnsetType = UNSET
    """Whether even the mail about its start was not sent, because it was silenced."""
    mails: int | UnsetType = UNSET
    """Number of notices about it so far: its start and the reminders. UNSET: none, or begun by an earlier version."""

    @property
    def subject(self) -> str:
        """The test, task, coin or source that it is about; '' for a condition without subjects."""
        return self.key.partition(":")[2].partition("#")[0]

    @property
    def limit(self) -> str:
        """The threshold. Where it comes from is named only if it is not the catalogue's."""
        return self.threshold.removesuffix(f", {FROM_CATALOGUE}")

    @property
    def heading(self) -> str:
        """The title, with the number of further subjects of the condition that began with it: like BTC and 2 more."""
        more = sum(effect.condition == self.condition for effect in self.effects or () if not effect.ended_at)
        return f"{self.title} and {more} more" if more else self.title

    def command(self, environment: str) -> str:
        """The command of the first step, about this alert's subject."""
        command = CONDITIONS[self.condition].first_step.command_in(environment)
        return command.format(subject=self.subject, dag=self.subject.partition("/")[0])

    @property
    def begin_at(self) -> datetime:
        """When it began by the evidence, or else when it was detected."""
        return self.since if self.began_at is UNSET else min(self.began_at, self.since)

    @classmethod
    def begin(
        cls, condition: Condition, now: datetime, subject: str = "", *, value: str, threshold: str,
        details: tuple[str, ...], severity: Severity | None = None, began_at: datetime | None = None,
    ) -> Self:  # fmt: skip
        """An alert that begins now. Monitor and callbacks give the same key to the same condition and subject."""
        return cls(
            key=f"{condition.name}:{subject}" if subject else condition.name,
            condition=condition.name,
            severity=severity or condition.severity,
            title=f"{condition.title}: {subject}" if subject else condition.title,
            since=now,
            notified_at=now,
            value=value,
            threshold=threshold,
            details=details,
            began_at=UNSET if began_at is None else began_at,
        )


class Notice(msgspec.Struct, frozen=True):
    """A message about one alert. Until `claimed_until` a process is sending it."""

    id: str
    kind: NoticeKind
    alert: OpenAlert
    at: Instant
    attempts: int = 0
    claimed_until: Instant | None = None
    last_error: str = ""
    batch: str | UnsetType = UNSET
    """Id of the mail with which the notice is sent, set at the first attempt; each attempt repeats the same mail."""
    retry_at: Instant | UnsetType = UNSET
    """Until then no further attempt is made, after several that failed."""


class AlertState(msgspec.Struct, frozen=True):
    """Open alerts by key, and the outbox, oldest notice first.

    `ended` has the alerts that ended a moment ago, with the time of their end: they may still explain what follows.
    """

    open: Mapping[str, OpenAlert]
    outbox: tuple[Notice, ...]
    ended: Mapping[str, Instant] | UnsetType = UNSET


NO_ALERTS = AlertState({}, ())
