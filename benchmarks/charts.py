"""Charts as SVG, for docs/performance.md: bars that compare cases, and panels with lines over time. Pure functions.

Pipeline Health's charts (include/monitoring/page/chart.py) place the lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.figures import Points, Values, number
from include.catalogue import Unit
from include.monitoring.page import chart

WIDTH, LABEL, VALUE = 640, 190, 80
"""Pixels of the picture, of its labels, and of the room for the values."""
ROW, BAR, TITLE = 26, 16, 40
STYLE = (
    "text{font:13px sans-serif;fill:#1f2328}.title{font-weight:bold}.bar{fill:#8c959f}.ours{fill:#0969da}"
    ".page{fill:#fff}@media (prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}}"
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of a benchmark's figures: those that `figures` matches as a whole, labelled by its group."""

    benchmark: str
    name: str
    title: str
    figures: str


CHARTS = (
    Chart("landing", "speed-100", "Messages per second, files of 100", r"100\.messages_per_second\.(\w+)"),
    Chart("landing", "cpu-100", "CPU-µs a message, files of 100", r"100\.steady_cpu_us\.(\w+)"),
    Chart("landing", "speed-10000", "Messages per second, files of 10,000", r"10000\.messages_per_second\.(\w+)"),
    Chart("landing", "cpu-10000", "CPU-µs a message, files of 10,000", r"10000\.steady_cpu_us\.(\w+)"),
    Chart("latency", "p95", "Seconds from Kafka, 95 % of the records", r"(\w+\.\w+\.\w+)\.p95"),
    Chart("transform", "tick", "Seconds of a tick of the monitor", r"monitor_tick\.(\w+)_seconds"),
    Chart("parse", "seconds", "Seconds of a parse", r"(\w+\.\w+)_seconds"),
    Chart("idle", "cpu", "Share of a core while nothing lands", r"([\w-]+)\.share_of_a_core"),
    Chart("listing", "seconds", "Seconds of a look at S3, by older objects", r"(\d+)\.seconds"),
    Chart("partitions", "seconds", "Seconds of a look at Kafka, by partitions", r"(\d+)\.seconds"),
    Chart("page", "p95", "Seconds of Pipeline Health, 95 % of the requests", r"(\w+)\.p95_seconds"),
    Chart("warehouse", "day", "Seconds of a build with a day of quotes", r"day\.(\w+)_seconds"),
    Chart("warehouse", "bronze", "Seconds of bronze, by files loaded", r"bronze\.(\d+)_files_seconds"),
    Chart("trino", "bytes", "Bytes that a run of bronze reads, by files loaded", r"(\d+)_files\.bytes"),
    Chart("audit", "seconds", "Seconds of an audit of a day", r"(\w+\.\w+)\.seconds"),
    Chart("soak", "memory", "MB an hour", r"([\w-]+)\.memory_mb_an_hour"),
)


def bars(chart: Chart, values: Values) -> list[tuple[str, float]]:
    """Label and value of each bar, in the order of the values."""
    found = ((re.fullmatch(chart.figures, name), value) for name, value in values.items())
    return [(match[1], value) for match, value in found if match]


def draw(title: str, rows: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars as an SVG document; those of `ours` stand out."""
    most = max((value for _, value in rows), default=0.0) or 1.0
    parts = [f'<text class="title" x="8" y="22">{escape(title)}</text>']
    for place, (label, value) in enumerate(rows):
        y, length = TITLE + place * ROW, (WIDTH - LABEL - VALUE) * value / most
        name = label.replace("_", " ").replace(".", ", ")
        kind = "bar ours" if label == "ours" else "bar"
        parts += [
            f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}"/>',
            f'<text x="{LABEL + length + 6:.1f}" y="{y + 13}">{number(value)}</text>',
        ]
    height = TITLE + len(rows) * ROW + 6
    text = escape(f"{title}: " + ", ".join(f"{label} {number(value)}" for label, value in rows))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [f'{head} role="img"><title>{text}</title><style>{STYLE}</style>', '<rect class="page" width="100%"']
    return "\n".join([lines[0], f'{lines[1]} height="100%"/>', *parts, "</svg>", ""])


COLUMNS = 3
STEP_SECONDS = 60.0
"""A point of a curve is the highest value of so many seconds. A gap is left where nothing was measured."""
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
    """Lines over time, each with its label. The legend has no line without a label."""

    title: str
    unit: Unit
    lines: tuple[tuple[str, Points], ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A drawn panel at its place in the picture."""

    panel: Panel
    chart: chart.Chart
    x: int
    y: int


def draw_panels(title: str, panels: Sequence[Panel], seconds: float, warm_up: float) -> str:
    """The panels of a run of `seconds` as one SVG document; the first share `warm_up` of the time is shaded."""
    places = [
        Placed(panel, _drawn(panel, seconds, warm_up), number % COLUMNS * chart.WIDTH, number // COLUMNS * ROOM)
        for number, panel in enumerate(panels)
    ]
    return TEMPLATES.get_template("charts.svg.jinja").render(
        title=title, places=places, minutes=round(seconds / 60), chart=chart,
        width=COLUMNS * chart.WIDTH, height=places[-1].y + ROOM,
    )  # fmt: skip


def _drawn(panel: Panel, seconds: float, warm_up: float) -> chart.Chart:
    lines = [(label, _evenly(points, seconds)) for label, points in panel.lines]
    begin = datetime.fromtimestamp(0, UTC)
    shaded = (begin, begin + timedelta(seconds=warm_up * seconds))
    return chart.draw(lines, panel.unit, (begin, begin + timedelta(seconds=seconds)), None, [shaded])


def _evenly(points: Points, seconds: float) -> list[float | None]:
    """The highest value of each step of the run; None where nothing was measured."""
    highest: dict[int, float] = {}
    for hours, value in points:
        step = round(hours * 3600 / STEP_SECONDS)
        highest[step] = max(highest.get(step, value), value)
    return [highest.get(step) for step in range(round(seconds / STEP_SECONDS) + 1)]
