"""When a condition is breached. Pure: no clock, no network.

judge     numbers + threshold  -> verdict (ok, breached, unknown)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from include.catalogue import CONDITIONS, Condition, Unit, metric_of
from include.instants import from_text, span, to_text
from include.monitoring.checks.thresholds import Threshold

Outcome = Literal["ok", "breached", "unknown"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known about a condition's number.

    `values` are its last periods, oldest first, None for one without data; empty when the
    source was read and has nothing to say (`note` tells why). `blind` is set when the source
    could not be read at all. `subjects` names what is wrong one by one (failing tests), with
    a line about each; `as_of` is when the newest of these facts was established.
    """

    values: tuple[float | None, ...] = ()
    note: str = ""
    blind: str = ""
    details: tuple[str, ...] = ()
    subjects: Mapping[str, str] | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the monitor says about one condition in one tick. Texts carry their units."""

    condition: str
    outcome: Outcome
    value: str
    threshold: str
    details: tuple[str, ...] = ()
    subjects: Mapping[str, str] | None = None
    as_of: datetime | None = None

    @property
    def sentence(self) -> str:
        """One line for the log and for the error of the red task."""
        one = CONDITIONS[self.condition]
        text = f"{one.title}: {self.value} (threshold {self.threshold})"
        return "; ".join([text, *self.details])

    def to_json(self) -> dict[str, Any]:
        """For XCom."""
        return {
            "condition": self.condition,
            "outcome": self.outcome,
            "value": self.value,
            "threshold": self.threshold,
            "details": list(self.details),
            "subjects": None if self.subjects is None else dict(self.subjects),
            "as_of": to_text(self.as_of) if self.as_of else None,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        as_of = content["as_of"]
        return cls(**{**content, "details": tuple(content["details"]), "as_of": from_text(as_of) if as_of else None})


def judge(condition: Condition, measured: Measured, threshold: Threshold, warning: str = "") -> Verdict:
    """The verdict on one condition. `warning` (a differing CloudWatch alarm, say) is shown with it."""
    limit = f"{condition.comparison} {quantity(condition, threshold.value)}, {threshold.source}"
    details = (*measured.details, *((warning,) if warning else ()))
    outcome, value = _outcome(condition, measured, threshold.value)
    return Verdict(condition.name, outcome, value, limit, details, measured.subjects, measured.as_of)


def _outcome(condition: Condition, measured: Measured, threshold: float) -> tuple[Outcome, str]:
    if measured.blind:
        return "unknown", f"unknown, {measured.blind}"
    if not measured.values:
        return "unknown", measured.note or "no data"
    if len(measured.values) < condition.periods:
        return "unknown", measured.note or f"only {len(measured.values)} of {condition.periods} periods are known"
    looked_at = measured.values[-condition.periods :]
    newest = looked_at[-1]
    shown = "no data" if newest is None else quantity(condition, newest)
    if newest is None and condition.missing != "breaching":
        return ("ok" if condition.missing == "notBreaching" else "unknown"), measured.note or "no data"
    breached = all(
        condition.missing == "breaching" if value is None else condition.breached_by(value, threshold)
        for value in looked_at
    )
    if breached and condition.periods > 1:
        shown += f", {condition.periods} periods on end"
    return ("breached" if breached else "ok"), shown


def quantity(condition: Condition, value: float) -> str:
    """A number of the condition's metric with its unit, as a person says it."""
    metric = metric_of(condition)
    if metric is None:
        return f"{value:g}"
    text = with_unit(value, metric.unit)
    return f"{text} in {span(metric.period_seconds)}" if metric.statistic == "Sum" else text


def with_unit(value: float, unit: Unit) -> str:
    """Like 1,234 or 2 h 5 min or 3.2/s."""
    if unit == "Seconds":
        return span(value)
    if unit == "Bytes":
        return f"{value:,.0f} bytes"
    number = f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
    return f"{number}/s" if unit == "Count/Second" else number
