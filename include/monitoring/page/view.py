"""From what the page knows to what it shows: one value for each section of `templates/`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.catalogue import CONDITIONS, METRICS
from include.instants import to_text
from include.monitoring.alerts.model import OpenAlert
from include.monitoring.checks.judge import quantity
from include.monitoring.page import chart, flow, quality, sentence
from include.monitoring.page.chart import Chart
from include.monitoring.page.flow import Stage
from include.monitoring.page.health import ConditionHealth, PipelineHealth
from include.monitoring.page.quality import TestGroup
from include.monitoring.page.read_model import ReadModel
from include.monitoring.page.sentence import Sentence
from include.monitoring.page.trends import RANGES, Trend, Trends, shown
from include.state.past_alerts import PastAlert


@dataclass(frozen=True, slots=True)
class TrendView:
    """One chart with its title and its threshold in words; `open` says whether its condition is open now."""

    id: str
    title: str
    threshold: str
    open: bool
    chart: Chart


@dataclass(frozen=True, slots=True)
class AlertView:
    """One open alert and the one that explains it."""

    alert: OpenAlert
    cause: OpenAlert | None


@dataclass(frozen=True, slots=True)
class View:
    """The whole page. None or empty parts are unknown or absent: each section says which."""

    health: PipelineHealth
    sentence: Sentence
    stages: tuple[Stage, ...]
    range: str
    ranges: tuple[tuple[str, str], ...]
    trends: tuple[TrendView, ...]
    trends_from: Trends | None
    trends_fault: str
    alerts: tuple[AlertView, ...] | None
    past: tuple[PastAlert, ...] | None
    conditions: tuple[ConditionHealth, ...]
    tests: tuple[TestGroup, ...]
    tests_known: bool
    dead_letters: tuple[str, ...]
    away_since: datetime | None

    @property
    def unknown_conditions(self) -> int:
        """Number of conditions about which nothing is known."""
        return sum(row.state == "unknown" for row in self.conditions)


def of(model: ReadModel, chosen: str) -> View:
    """The page with the trends of one range."""
    state, trends = model.state, model.trends.trends
    health = state.health
    known = state.away_since is None and health.judged_recently and health.alerts is not None
    alerts = health.alerts
    return View(
        health=health,
        sentence=sentence.of(health, state.away_since),
        stages=tuple(flow.stages(health, trends, known)),
        range=chosen,
        ranges=tuple((name, one.label) for name, one in RANGES.items()),
        trends=tuple(_trend(trend, trends, health, state.past or ()) for trend in shown()) if trends else (),
        trends_from=trends,
        trends_fault=model.trends.fault,
        alerts=None if alerts is None else tuple(AlertView(one, flow.root_of(one, alerts)) for one in _ordered(alerts)),
        past=None if state.past is None else tuple(state.past),
        conditions=tuple(sorted(health.conditions, key=lambda row: ("open", "unknown", "ok").index(row.state))),
        tests=tuple(quality.groups(state.tests or (), health)),
        tests_known=state.tests is not None,
        dead_letters=health.details("dead_letters"),
        away_since=state.away_since,
    )


def _ordered(alerts: Sequence[OpenAlert]) -> list[OpenAlert]:
    """Errors first, then by age; a consequence after what explains it."""
    roots = {alert.key: flow.root_of(alert, alerts) or alert for alert in alerts}

    def place(alert: OpenAlert) -> tuple[bool, datetime, str, bool]:
        root = roots[alert.key]
        return root.severity == "warning", root.begin_at, root.key, root is not alert

    return sorted(alerts, key=place)


def _trend(trend: Trend, trends: Trends, health: PipelineHealth, past: Sequence[PastAlert]) -> TrendView:
    metric, condition = METRICS[trend.lines[0].metric], CONDITIONS.get(trend.condition)
    limit = health.thresholds.get(trend.condition) if condition else None
    rate = trend.lines[0].rate
    threshold, text = None, ""
    if condition and limit:
        threshold = limit.value / metric.period_seconds if rate else limit.value
        text = f"alarms {condition.comparison} {quantity(condition, limit.value)}"
    name = trend.condition
    periods = [(alert.began_at, alert.ended_at) for alert in past if alert.condition == name]
    still_open = [alert for alert in health.alerts or () if alert.condition == name]
    periods += [(alert.begin_at, health.at) for alert in still_open]
    lines = [(line.label, trends.values.get(line.id, ())) for line in trend.lines]
    drawn = chart.draw(lines, metric.unit, (trends.begin, trends.end), threshold, periods, rate)
    return TrendView(trend.title.lower().replace(" ", "-"), trend.title, text, bool(still_open), drawn)


def status(view: View) -> dict[str, object]:
    """The page as JSON for scripts: a stable part of it."""
    return {
        "at": to_text(view.health.at),
        "environment": view.health.environment,
        "state": view.sentence.state,
        "sentence": view.sentence.text,
        "since": None if view.sentence.since is None else to_text(view.sentence.since),
        "unreadable_since": None if view.away_since is None else to_text(view.away_since),
        "stages": [
            {"name": stage.name, "state": stage.state, "value": stage.value, "reason": stage.reason}
            for stage in view.stages
        ],
        "alerts": None if view.alerts is None else [_alert(row) for row in view.alerts],
        "conditions": {
            row.condition.name: {"state": row.state, "value": row.value, "alarms_when": row.limit}
            for row in view.conditions
        },
        "faults": dict(view.health.faults) | ({"trends": view.trends_fault} if view.trends_fault else {}),
    }


def _alert(row: AlertView) -> dict[str, object]:
    alert = row.alert
    return {
        "key": alert.key,
        "severity": alert.severity,
        "title": alert.title,
        "since": to_text(alert.begin_at),
        "value": alert.value,
        "threshold": alert.threshold,
        "cause": row.cause.key if row.cause else None,
    }
