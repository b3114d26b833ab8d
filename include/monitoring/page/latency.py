"""How late records are at each stage, as the page shows it: the last build, the hours before, the objective. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from include.catalogue import STAGES, Stage
from include.instants import span
from include.monitoring.page.chart import spark
from include.monitoring.page.health import PipelineHealth
from include.settings import ObjectiveSettings
from include.state.latency import Percentiles, RecentLatency

WIDTH, HEIGHT = 160, 28
"""Size of the course of the hours in user units."""


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage. `last` has the last build's percentiles, None when it brought no new record.

    `late`: its p95 is above the objective. `path` draws the p95 of the hours, `hours` says it in words.
    """

    stage: Stage
    last: Percentiles | None
    objective: str
    late: bool
    path: str
    hours: str


def rows(health: PipelineHealth) -> tuple[StageRow, ...]:
    """Every stage that was measured, in the order of a record's way."""
    known: dict[Stage, RecentLatency] = {}
    for layer in health.layers:
        if layer.state and layer.state.latency:
            known |= dict(layer.state.latency)
    return tuple(_row(stage, known[stage], health) for stage in STAGES if stage in known)


def limits(objective: ObjectiveSettings | None) -> Mapping[Stage, tuple[float, float]]:
    """Stage -> seconds and percent of its objective; only two stages have one."""
    if objective is None:
        return {}
    return {
        "landed": (objective.landed_minutes * 60, objective.landed_percent),
        "gold": (objective.gold_minutes * 60, objective.gold_percent),
    }


def promise(limit: tuple[float, float]) -> str:
    """Like 95 % within 20 min."""
    seconds, percent = limit
    return f"{percent:g} % within {span(seconds)}"


def _row(stage: Stage, latency: RecentLatency, health: PipelineHealth) -> StageRow:
    limit = limits(health.objective).get(stage)
    hours = [hour.percentiles.p95 for hour in latency.hours]
    return StageRow(
        stage,
        latency.last,
        promise(limit) if limit else "",
        bool(limit and latency.last and latency.last.p95 > limit[0]),
        spark(hours, WIDTH, HEIGHT),
        _words(latency.hours[0].at, min(hours), max(hours)) if hours else "no finished hour",
    )


def _words(begin: datetime, least: int, most: int) -> str:
    return f"p95 of each hour since {begin:%d %b %H:%M} UTC: {span(least)} to {span(most)}"
