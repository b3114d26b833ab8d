"""From what the page knows to what it shows: one value for each section of `templates/`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from include.catalogue import CONDITIONS, METRICS
from include.monitoring.alerts.model import OpenAlert
from include.monitoring.checks.judge import quantity
from include.monitoring.page import chart, flow, latency, prices, quality, sentence
from include.monitoring.page.chart import Chart
from include.monitoring.page.flow import Stage
from include.monitoring.page.health import ConditionHealth, PipelineHealth
from include.monitoring.page.latency import StageRow
from include.monitoring.page.prices import Coin
from include.monitoring.page.quality import TestGroup
from include.monitoring.page.read_model import PRICES, ReadModel
from include.monitoring.page.sentence import Sentence
from include.monitoring.page.trends import DEFAULT_RANGE, RANGES, TRENDS, Trend, Trends, fitted
from include.state import silences
from include.state.kpis import Kpis
from include.state.past_alerts import PastAlert
from include.state.silences import Silence, Silences


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
    """One open alert, the one that explains it, and its silence."""

    alert: OpenAlert
    cause: OpenAlert | None
    silence: Silence | None = None


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
    dead_letters: tuple[tuple[str, str], ...]
    """Label and text of each fact about the dead letters of the last hour."""
    latency: tuple[StageRow, ...]
    coins: tuple[Coin, ...]
    kpis: Kpis | None
    coins_fault: bool
    silences: tuple[tuple[str, Silence], ...]
    """Those in force by their name, the one that ends first at the beginning."""
    away_since: datetime | None


def of(model: ReadModel, chosen: str) -> View:
    """The page with the trends of one range; '' is the shortest one that has all numbers of the model."""
    state, trends = model.state, model.trends.trends
    if trends and not chosen:
        trends = fitted(trends)
    health = state.health
    known = state.away_since is None and health.judged_recently and health.alerts is not None
    alerts = health.alerts
    return View(
        health=health,
        sentence=sentence.of(health, state.away_since),
        stages=tuple(flow.stages(health, trends, known)),
        range=chosen or (trends.range if trends else DEFAULT_RANGE),
        ranges=tuple((name, one.label) for name, one in RANGES.items()),
        trends=tuple(_trend(trend, trends, health, state.past or ()) for trend in TRENDS) if trends else (),
        trends_from=trends,
        trends_fault=model.trends.fault,
        alerts=None if alerts is None else tuple(_alerts(alerts, state.silences or {}, health.at)),
        past=None if state.past is None else tuple(state.past),
        conditions=tuple(_conditions(health, state.away_since is not None)),
        tests=tuple(quality.groups(state.tests or (), health)),
        tests_known=state.tests is not None,
        dead_letters=tuple(_labelled(text) for text in health.details("dead_letters")),
        latency=latency.rows(health),
        coins=prices.coins(state.kpis),
        kpis=state.kpis,
        coins_fault=PRICES in health.faults or (state.kpis is None and state.away_since is not None),
        silences=_in_force(state.silences or {}, health.at),
        away_since=state.away_since,
    )


def _conditions(health: PipelineHealth, away: bool) -> list[ConditionHealth]:
    """The open ones first, then the unknown ones. While S3 is away, all are unknown, with what was known before."""
    rows = health.conditions
    if away:
        rows = [replace(row, state="unknown", value=f"was {row.state}: {row.value}".rstrip(": ")) for row in rows]
    return sorted(rows, key=lambda row: ("open", "unknown", "ok").index(row.state))


def _alerts(alerts: Sequence[OpenAlert], known: Silences, now: datetime) -> Iterator[AlertView]:
    for one in _ordered(alerts):
        yield AlertView(one, flow.root_of(one, alerts), silences.in_force(known, one.key, now))


def _in_force(known: Silences, now: datetime) -> tuple[tuple[str, Silence], ...]:
    return tuple(
        sorted(((name, one) for name, one in known.items() if one.until > now), key=lambda pair: pair[1].until)
    )


def _labelled(text: str) -> tuple[str, str]:
    """A detail like `newest: topic/0/7 ...` in its two parts."""
    label, colon, rest = text.partition(": ")
    return (f"{label[:1].upper()}{label[1:]}", rest) if colon else ("", text)


def _ordered(alerts: Sequence[OpenAlert]) -> list[OpenAlert]:
    """Errors first, then by age; a consequence after what explains it."""
    roots = {alert.key: flow.root_of(alert, alerts) or alert for alert in alerts}

    def place(alert: OpenAlert) -> tuple[bool, datetime, str, bool]:
        root = roots[alert.key]
        return root.severity == "warning", root.begin_at, root.key, root is not alert

    return sorted(alerts, key=place)


def _trend(trend: Trend, trends: Trends, health: PipelineHealth, past: Sequence[PastAlert]) -> TrendView:
    metric, rate = METRICS[trend.lines[0].metric], trend.lines[0].rate
    threshold, text = _limit(trend, health)
    if threshold is not None and rate:
        threshold /= metric.period_seconds
    name = trend.condition
    periods = [(alert.began_at, alert.ended_at) for alert in past if alert.condition == name]
    still_open = [alert for alert in health.alerts or () if alert.condition == name]
    periods += [(alert.begin_at, health.at) for alert in still_open]
    lines = [(line.label, trends.values.get(line.id, ())) for line in trend.lines]
    drawn = chart.draw(lines, metric.unit, (trends.begin, trends.end), threshold, periods, rate)
    return TrendView(trend.title.lower().replace(" ", "-"), trend.title, text, bool(still_open), drawn)


def _limit(trend: Trend, health: PipelineHealth) -> tuple[float | None, str]:
    """The threshold of a chart and its words: the objective of its stage, or that of its condition."""
    if trend.objective:
        objective = latency.limits(health.objective).get(trend.objective)
        return (objective[0], f"objective {latency.promise(objective)}") if objective else (None, "")
    condition, limit = CONDITIONS.get(trend.condition), health.thresholds.get(trend.condition)
    if condition is None or limit is None:
        return None, ""
    return limit.value, f"alarms {condition.comparison} {quantity(condition, limit.value)}"
