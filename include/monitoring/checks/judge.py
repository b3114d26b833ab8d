"""When a condition is breached. Pure: no clock, no network.

judge     evidence + threshold  -> verdict (ok, breached, unknown)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from include.catalogue import CONDITIONS, Condition, Severity, Unit, metric_of
from include.instants import Instant, span
from include.monitoring.checks.thresholds import Threshold

Outcome = Literal["ok", "breached", "unknown"]


class Subject(msgspec.Struct, frozen=True):
    """One fault of a condition that can have several at a time, for example one failing test.

    `severity` is None when it is the condition's. `began_at` is the time of the first evidence, None when that is not
    known. `run_url` opens the run that shows the fault, '' when no run does.
    """

    line: str
    severity: Severity | None = None
    began_at: Instant | None = None
    run_url: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The known facts about a condition's number.

    `values` are its numbers in the last periods, oldest first, None for a period without data. They
    are empty when the source was read and has no number (`note` has the reason). `blind` is the
    reason why the source could not be read. `subjects` has each fault (for example a failing test)
    by its name. `as_of` is the time of the oldest of these facts. `began_at` is the time of the first
    evidence that the condition is breached, None when it is not known. `text` says the newest value in
    better words than the number alone.
    """

    values: tuple[float | None, ...] = ()
    note: str = ""
    blind: str = ""
    details: tuple[str, ...] = ()
    subjects: Mapping[str, Subject] | None = None
    as_of: datetime | None = None
    began_at: datetime | None = None
    text: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """The monitor's verdict on one condition in one run. Texts carry their units."""

    condition: str
    outcome: Outcome
    value: str
    threshold: str
    details: tuple[str, ...] = ()
    subjects: Mapping[str, Subject] | None = None
    as_of: Instant | None = None
    began_at: Instant | None = None

    @property
    def sentence(self) -> str:
        """One line for the log and for the error of the red task. The condition's title stands only over a breach."""
        condition = CONDITIONS[self.condition]
        if self.outcome == "breached":
            text = f"{condition.title}: {self.value} (threshold {self.threshold})"
        else:
            metric = metric_of(condition)
            name = f"ok: {metric.title} {self.value}" if self.outcome == "ok" and metric else self.value
            text = f"{name} (alarms when {self.threshold})"
        lines = [f"{name}: {subject.line}" for name, subject in (self.subjects or {}).items()]
        return "; ".join([text, *self.details, *lines])


def judge(condition: Condition, evidence: Evidence, threshold: Threshold, warning: str = "") -> Verdict:
    """The verdict on one condition. `warning` (for example a differing CloudWatch alarm) is one of its details."""
    limit = f"{condition.comparison} {quantity(condition, threshold.value)}, {threshold.source}"
    details = (*evidence.details, *((warning,) if warning else ()))
    outcome, value = _outcome(condition, evidence, threshold.value)
    return Verdict(condition.name, outcome, value, limit, details, evidence.subjects, evidence.as_of, evidence.began_at)


def _outcome(condition: Condition, evidence: Evidence, threshold: float) -> tuple[Outcome, str]:
    if evidence.blind:
        return "unknown", f"unknown, {evidence.blind}"
    if not evidence.values:
        return "unknown", evidence.note or "no data"
    if len(evidence.values) < condition.periods:
        return "unknown", evidence.note or f"only {len(evidence.values)} of {condition.periods} periods are known"
    periods = evidence.values[-condition.periods :]
    newest = periods[-1]
    text = "no data" if newest is None else evidence.text or counted(condition, newest)
    if newest is None and condition.missing != "breaching":
        return ("ok" if condition.missing == "notBreaching" else "unknown"), evidence.note or "no data"
    breached = all(_counts(condition, value, threshold) for value in periods)
    if _counts(condition, newest, threshold):
        text += _periods(condition, periods, threshold)
    return ("breached" if breached else "ok"), text


def _periods(condition: Condition, periods: Sequence[float | None], threshold: float) -> str:
    """For how many of its periods a condition of several periods has been breached; empty for one period."""
    if condition.periods == 1:
        return ""
    last_good = next(
        (age for age, value in enumerate(reversed(periods)) if not _counts(condition, value, threshold)), len(periods)
    )
    of = "" if last_good == condition.periods else f" of {condition.periods}"
    return f", for {last_good}{of} periods"


def _counts(condition: Condition, value: float | None, threshold: float) -> bool:
    """Whether a period counts as breached."""
    return condition.missing == "breaching" if value is None else condition.breached_by(value, threshold)


def quantity(condition: Condition, value: float) -> str:
    """A number of the condition's metric with its unit, in words."""
    metric = metric_of(condition)
    if metric is None:
        return f"{value:g}"
    text = with_unit(value, metric.unit)
    return f"{text} in {span(metric.period_seconds)}" if metric.statistic == "Sum" else text


def counted(condition: Condition, value: float) -> str:
    """A number of the condition's metric with what it counts, like 1 message or 6 failed PUTs in 5 min."""
    metric, text = metric_of(condition), quantity(condition, value)
    if metric is None or not metric.counts:
        return text
    number, space, rest = text.partition(" ")
    return f"{number} {metric.counts.removesuffix('s') if number == '1' else metric.counts}{space}{rest}"


def with_unit(value: float, unit: Unit) -> str:
    """Like 1,234 or 2 h 5 min or 3.2/s or 5 %."""
    if unit == "Seconds":
        return span(value)
    if unit == "Bytes":
        return f"{value:,.0f} bytes"
    number = f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
    return number + {"Count/Second": "/s", "Percent": " %"}.get(unit, "")
