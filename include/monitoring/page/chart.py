"""The geometry of a trend's SVG: lines with gaps, axis values, threshold, shaded alert periods. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.catalogue import Unit
from include.instants import span

WIDTH, HEIGHT = 320, 132
LEFT, RIGHT, TOP, BOTTOM = 68, 6, 8, 20
"""Margins in user units: room for the axis values."""
NEAR = 3.0
"""A threshold of more than so many times the highest value is written and not drawn, so that the line has a form."""
TICKS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True, slots=True)
class Mark:
    """A text of an axis at a place in user units."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """One line: SVG paths, and the text of each value ('' without one)."""

    label: str
    path: str
    area: str
    texts: tuple[str, ...]
    newest: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything of one chart in user units."""

    lines: tuple[Drawn, ...]
    y_marks: tuple[Mark, ...]
    x_marks: tuple[Mark, ...]
    threshold_y: float | None
    bands: tuple[tuple[float, float], ...]
    """Left edge and width of each alert period."""
    empty: bool


def text_of(value: float, unit: Unit, rate: bool = False) -> str:
    """A value in words, short enough for an axis."""
    if unit == "Seconds":
        return f"{value * 1000:,.0f} ms" if 0 < value < 1 else span(value)
    if unit == "Bytes":
        return f"{value / 1e6:,.1f} MB"
    number = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.3g}"
    return number + ("/s" if rate or unit == "Count/Second" else " %" if unit == "Percent" else "")


def draw(
    values: Sequence[tuple[str, Sequence[float | None]]],
    unit: Unit,
    times: tuple[datetime, datetime],
    threshold: float | None,
    periods: Sequence[tuple[datetime, datetime]],
    rate: bool = False,
) -> Chart:
    """The chart of labelled lines between two times. `periods` are the times at which the condition was open."""
    known = [value for _, line in values for value in line if value is not None]
    highest = max(known, default=0.0)
    drawn_threshold = threshold if threshold is not None and threshold <= NEAR * highest else None
    top = _nice(max(highest, drawn_threshold or 0.0) or 1.0, unit)
    lines = tuple(_line(label, line, top, unit, rate) for label, line in values)
    y_marks = tuple(Mark(text_of(top * part, unit, rate), LEFT - 6, _y(top * part, top)) for part in (0, 0.5, 1))
    return Chart(
        lines,
        y_marks,
        _x_marks(times),
        None if drawn_threshold is None else _y(drawn_threshold, top),
        tuple(_band(period, times) for period in periods if period[1] > times[0] and period[0] < times[1]),
        not known,
    )


def spark(values: Sequence[float | None], width: float, height: float) -> str:
    """The SVG path of a small line without axes: the least value at the bottom, the greatest on top; empty without any.

    A gap is left where a value is missing.
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    least, size = min(known), (max(known) - min(known)) or 1.0
    places = width / max(len(values) - 1, 1)
    parts = []
    for first, run in _runs(values):
        points = ((first + index, value) for index, value in enumerate(run))
        text = " ".join(
            f"{x * places:.1f} {2 + (height - 4) * (1 - (value - least) / size):.1f}" for x, value in points
        )
        parts.append(f"M{text}" if len(run) > 1 else f"M{text} h1")
    return " ".join(parts)


def _line(label: str, line: Sequence[float | None], top: float, unit: Unit, rate: bool) -> Drawn:
    path, area = [], []
    for first, run in _runs(line):
        points = [(_x(first + index, len(line)), _y(value, top)) for index, value in enumerate(run)]
        if len(points) == 1:
            points.append((points[0][0] + 1, points[0][1]))  # a line of no length is not drawn
        text = " ".join(f"{x:.1f} {y:.1f}" for x, y in points)
        path.append(f"M{text}")
        area.append(f"M{points[0][0]:.1f} {_y(0, top):.1f} {text} {points[-1][0]:.1f} {_y(0, top):.1f}Z")
    texts = tuple("" if value is None else text_of(value, unit, rate) for value in line)
    newest = next((text for text in reversed(texts[-4:]) if text), "no data")
    return Drawn(label, " ".join(path), " ".join(area), texts, newest)


def _runs(line: Sequence[float | None]) -> list[tuple[int, list[float]]]:
    """The parts without a gap, each with the index of its first value."""
    runs: list[tuple[int, list[float]]] = []
    before: float | None = None
    for index, value in enumerate(line):
        if value is not None:
            if before is None:
                runs.append((index, []))
            runs[-1][1].append(value)
        before = value
    return runs


def _x(index: float, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * index / max(count - 1, 1)


def _y(value: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(value / top, 1))


def _nice(highest: float, unit: Unit) -> float:
    """The first round number from `highest` up; of seconds one that is round in minutes, hours or days."""
    scale = next((size for size in (86400, 3600, 60) if unit == "Seconds" and highest >= size), 1)
    exponent = 10 ** math.floor(math.log10(highest / scale))
    return float(scale * next(tick * exponent for tick in TICKS if tick * exponent >= highest / scale * 0.999999))


def _x_marks(times: tuple[datetime, datetime]) -> tuple[Mark, ...]:
    total = (times[1] - times[0]).total_seconds()
    places = ((0.0, f"{span(total)} ago"), (0.5, f"{span(total / 2)} ago"), (1.0, "now"))
    return tuple(Mark(text, LEFT + (WIDTH - LEFT - RIGHT) * part, HEIGHT - 5) for part, text in places)


def _band(period: tuple[datetime, datetime], times: tuple[datetime, datetime]) -> tuple[float, float]:
    total = (times[1] - times[0]).total_seconds()
    left, right = (max(0.0, min(1.0, (time - times[0]).total_seconds() / total)) for time in period)
    width = WIDTH - LEFT - RIGHT
    return round(LEFT + width * left, 1), round(max(width * (right - left), 1.5), 1)
