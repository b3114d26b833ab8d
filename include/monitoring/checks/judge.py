"""When a condition is breached. Pure: no clock, no network.

judge     evidence + threshold  -> verdict (ok, breached, unknown)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from include.catalogue import CONDITIONS, Condition, Unit, metric_of
from include.instants import Instant, span
from include.monitoring.checks.thresholds import Threshold

Outcome = Literal["ok", "breached", "unknown"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The known facts about a condition's number.

    `values` are its numbers in the last periods, oldest first, None for a period without data. They
    are empty when the source was read and has no number (`note` has the reason). `blind` is the
    reason why the source could not be read. `subjects` has a line about each fault (for example a
    failing test) by its name. `as_of` is the time of the oldest of these facts.
    """

    values: tuple[float | None, ...] = ()
    note: str = ""
    blind: str = ""
    details: tuple[str, ...] = ()
    subjects: Mapping[str, str] | None = None
    as_of: datetime | None = None


class Verdict(msgspec.Struct, frozen=True):
    """The monitor's verdict on one condition in one run. Texts carry their units."""

    condition: str
    outcome: Outcome
    value: str
    threshold: str
    details: tuple[str, ...] = ()
    subjects: Mapping[str, str] | None = None
    as_of: Instant | None = None

    @property
    def sentence(self) -> str:
        """One line for the log and for the error of the red task."""
        text = f"{CONDITIONS[self.condition].title}: {self.value} (threshold {self.threshold})"
        return "; ".join([text, *self.details])


def judge(condition: Condition, evidence: Evidence, threshold: Threshold, warning: str = "") -> Verdict:
    """The verdict on one condition. `warning` (for example a differing CloudWatch alarm) is one of its details."""
    limit = f"{condition.comparison} {quantity(condition, threshold.value)}, {threshold.source}"
    details = (*evidence.details, *((warning,) if warning else ()))
    outcome, value = _outcome(condition, evidence, threshold.value)
    return Verdict(condition.name, outcome, value, limit, details, evidence.subjects, evidence.as_of)


def _outcome(condition: Condition, evidence: Evidence, threshold: float) -> tuple[Outcome, str]:
    if evidence.blind:
        return "unknown", f"unknown, {evidence.blind}"
    if not evidence.values:
        return "unknown", evidence.note or "no data"
    if len(evidence.values) < condition.periods:
        return "unknown", evidence.note or f"only {len(evidence.values)} of {condition.periods} periods are known"
    periods = evidence.values[-condition.periods :]
    newest = periods[-1]
    text = "no data" if newest is None else quantity(condition, newest)
    if newest is None and condition.missing != "breaching":
        return ("ok" if condition.missing == "notBreaching" else "unknown"), evidence.note or "no data"
    breached = all(
        condition.missing == "breaching" if value is None else condition.breached_by(value, threshold)
        for value in periods
    )
    if breached and condition.periods > 1:
        text += f", for {condition.periods} periods"
    return ("breached" if breached else "ok"), text


def quantity(condition: Condition, value: float) -> str:
    """A number of the condition's metric with its unit, in words."""
    metric = metric_of(condition)
    if metric is None:
        return f"{value:g}"
    text = with_unit(value, metric.unit)
    return f"{text} in {span(metric.period_seconds)}" if metric.statistic == "Sum" else text


def with_unit(value: float, unit: Unit) -> str:
    """Like 1,234 or 2 h 5 min or 3.2/s or 5 %."""
    if unit == "Seconds":
        return span(value)
    if unit == "Bytes":
        return f"{value:,.0f} bytes"
    number = f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
    return number + {"Count/Second": "/s", "Percent": " %"}.get(unit, "")
