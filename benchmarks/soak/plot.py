"""Draws a run as one SVG: panels with the samples, the fitted lines and the warm-up. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.soak.figures import WARM_UP, Points, growth, line, objects, of_program, of_stack
from benchmarks.soak.judgement import AIRFLOW, OURS
from benchmarks.soak.samples import Process, Run, Sample
from include.catalogue import Unit
from include.local.programs import SERVERS
from include.monitoring.page import chart

COLUMNS = 3
STEP_SECONDS = 60.0
"""A point of a curve is the highest sample of so many seconds. A gap is left where no sample was taken."""
ROOM = chart.HEIGHT + 42
"""Height of a panel with its title and legend, in user units."""
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart with its title; `fit` adds the least-squares line of each line after the warm-up."""

    title: str
    unit: Unit
    lines: tuple[tuple[str, Points], ...]
    fit: bool = False


def panels(samples: Sequence[Sample]) -> list[Panel]:
    """Everything that is drawn, ours first."""
    return [
        *(_memory(samples, name) for name in OURS),
        Panel("lag, messages", "Count", (("lag", of_stack(samples, lambda sample: sample.lag)),)),
        _several(samples, "open file handles", OURS, lambda process: process.handles),
        _several(samples, "threads", OURS, lambda process: process.threads),
        _objects(samples),
        *(_memory(samples, name) for name in AIRFLOW),
        Panel("warehouse file", "Bytes", (("", of_stack(samples, lambda sample: sample.warehouse_bytes)),), fit=True),
        _several(samples, "memory of the servers", SERVERS, lambda process: process.rss, "Bytes"),
    ]


def _memory(samples: Sequence[Sample], program: str) -> Panel:
    memory = growth(samples, program).memory
    title = f"{program}: {memory.an_hour:+.1f} MB an hour" if memory else f"{program}: memory"
    return Panel(title, "Bytes", (("", of_program(samples, program, lambda each: each.rss)),), fit=True)


def _several(
    samples: Sequence[Sample],
    title: str,
    programs: Sequence[str],
    value: Callable[[Process], int],
    unit: Unit = "Count",
) -> Panel:
    return Panel(title, unit, tuple((name, of_program(samples, name, value)) for name in programs))


def _objects(samples: Sequence[Sample]) -> Panel:
    prefixes = sorted({prefix for sample in samples for prefix in sample.objects or ()})
    return Panel(
        "objects in S3",
        "Count",
        tuple((prefix, objects(samples, prefix)) for prefix in prefixes),
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """A drawn panel at its place in the picture."""

    panel: Panel
    chart: chart.Chart
    x: int
    y: int


def svg(run: Run, samples: Sequence[Sample]) -> str:
    """The picture."""
    seconds = samples[-1].seconds
    places = [
        Placed(panel, _drawn(panel, seconds), number % COLUMNS * chart.WIDTH, number // COLUMNS * ROOM)
        for number, panel in enumerate(panels(samples))
    ]
    return TEMPLATES.get_template("plot.svg.jinja").render(
        run=run, places=places, minutes=round(seconds / 60), warm_up=WARM_UP, chart=chart,
        width=COLUMNS * chart.WIDTH, height=places[-1].y + ROOM,
    )  # fmt: skip


def _drawn(panel: Panel, seconds: float) -> chart.Chart:
    """The panel's chart, with the warm-up as the shaded time."""
    lines = [(label, _evenly(points, seconds)) for label, points in panel.lines]
    if panel.fit:
        lines += [("fit", _line(points, seconds)) for _, points in panel.lines]
    begin = datetime.fromtimestamp(0, UTC)
    warm_up = (begin, begin + timedelta(seconds=WARM_UP * seconds))
    return chart.draw(lines, panel.unit, (begin, begin + timedelta(seconds=seconds)), None, [warm_up])


def _evenly(points: Points, seconds: float) -> list[float | None]:
    """The highest value of each step of the run; None where no sample was taken."""
    highest: dict[int, float] = {}
    for hours, value in points:
        step = round(hours * 3600 / STEP_SECONDS)
        highest[step] = max(highest.get(step, value), value)
    return [highest.get(step) for step in _steps(seconds)]


def _steps(seconds: float) -> range:
    return range(round(seconds / STEP_SECONDS) + 1)


def _line(points: Points, seconds: float) -> list[float | None]:
    """The fitted line's value for each step after the warm-up."""
    after = [(hours, value) for hours, value in points if hours * 3600 >= WARM_UP * seconds]
    if (fit := line(after)) is None:
        return []
    begin, end = after[0][0], after[-1][0]
    hours = (step * STEP_SECONDS / 3600 for step in _steps(seconds))
    return [fit.first + fit.an_hour * (at - begin) if begin <= at <= end else None for at in hours]
