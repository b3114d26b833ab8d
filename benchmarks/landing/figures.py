"""From drains to figures, and from figures to a verdict and to the table of the guide. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from benchmarks.landing.rig import Drain

Figures = dict[str, float]
Rounds = Sequence[Sequence[Drain]]
"""Drains in the order in which they ran; those of one round ran one after the other."""


def speed_figures(rounds: Rounds) -> Figures:
    """Of each file size: ours, and ours over each other program."""
    figures: Figures = {}
    for size in sorted({one.records_a_file for drains in rounds for one in drains}):
        pairs: dict[str, list[tuple[Drain, Drain]]] = {}
        for drains in rounds:
            here = {one.program: one for one in drains if one.records_a_file == size}
            if "ours" in here:
                for program, one in here.items():
                    pairs.setdefault(program, []).append((here["ours"], one))
        mine = [ours for ours, _ in pairs.get("ours", [])]
        if not mine:
            continue
        figures[f"{size}.messages_per_second"] = median(one.messages_per_second for one in mine)
        figures[f"{size}.cpu_us"] = median(one.cpu_us for one in mine)
        figures[f"{size}.peak_rss_mb"] = max(one.peak_rss_mb for one in mine)
        for program, both in pairs.items():
            if program != "ours":
                speeds = [ours.messages_per_second / other.messages_per_second for ours, other in both]
                figures[f"{size}.speed_over_{program}"] = median(speeds)
                figures[f"{size}.cpu_over_{program}"] = median(
                    ours.steady_cpu_us / other.steady_cpu_us for ours, other in both
                )
    return figures


def scaling_figures(rounds: Rounds) -> Figures:
    """Two consumers over one, of rounds that hold a drain of each."""
    if not rounds:
        return {}
    pairs = [sorted(drains, key=lambda one: one.processes) for drains in rounds]
    return {
        "two_consumers.cpu_over_one": median(two.steady_cpu_us / one.steady_cpu_us for one, two in pairs),
        "two_consumers.speed_over_one": median(two.messages_per_second / one.messages_per_second for one, two in pairs),
    }


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal and what was measured; `measured` is None when it was not."""

    name: str
    bound: Literal["at_least", "at_most"]
    goal: float
    measured: float | None

    @property
    def met(self) -> bool:
        """Whether the goal was measured and reached."""
        if self.measured is None:
            return False
        return self.measured >= self.goal if self.bound == "at_least" else self.measured <= self.goal

    @property
    def verdict(self) -> str:
        """In a word."""
        return "met" if self.met else "not measured" if self.measured is None else "MISSED"


def judge(bounds: str, figures: Figures) -> list[Judged]:
    """Every goal of the bounds file (TOML text) against the figures."""
    read = tomllib.loads(bounds)
    kinds: tuple[Literal["at_least"], Literal["at_most"]] = ("at_least", "at_most")
    return [Judged(name, kind, goal, figures.get(name)) for kind in kinds for name, goal in read[kind].items()]


def speed_table(rounds: Rounds) -> str:
    """Medians of each program as a Markdown table, fastest first."""
    figures = speed_figures(rounds)
    groups: dict[tuple[int, str], list[Drain]] = {}
    for drains in rounds:
        for one in drains:
            groups.setdefault((one.records_a_file, one.program), []).append(one)
    rows = []
    for (size, program), drains in groups.items():
        speed = median(one.messages_per_second for one in drains)
        loads = [one.load for one in drains]
        over = {name: figures.get(f"{size}.{name}_over_{program}", 1.0) for name in ("speed", "cpu")}
        row = (
            program, f"{size:,}", f"{speed:,.0f}", f"{over['speed']:.2f} x",
            f"{median(one.cpu_us for one in drains):.2f}", f"{median(one.steady_cpu_us for one in drains):.2f}",
            f"{over['cpu']:.2f} x",
            f"{max(one.peak_rss_mb for one in drains)} MB", str(len(drains)), f"{min(loads)} to {max(loads)}",
        )  # fmt: skip
        rows.append(((size, -speed), row))
    header = ("program", "records a file", "msg/s", "ours is", "CPU-µs a message", "of it after start",
              "ours needs", "peak RSS", "runs", "load before")  # fmt: skip
    return markdown(header, [row for _, row in sorted(rows)])


def scenario_table(drains: Iterable[tuple[str, Drain]]) -> str:
    """Drains with a name each as a Markdown table."""
    header = ("what", "msg/s", "CPU-µs a message", "of it after start", "peak RSS of a process", "load before")
    return markdown(
        header,
        [
            (
                name, f"{one.messages_per_second:,}", f"{one.cpu_us:.2f}", f"{one.steady_cpu_us:.2f}",
                f"{one.peak_rss_mb} MB", str(one.load),
            )
            for name, one in drains
        ],
    )  # fmt: skip


def goal_table(judged: Iterable[Judged]) -> str:
    """Goals and verdicts as a Markdown table."""
    header = ("figure", "goal", "measured", "verdict")
    return markdown(
        header,
        [
            (
                f"`{one.name}`", f"{one.bound.replace('_', ' ')} {one.goal:g}",
                "-" if one.measured is None else f"{one.measured:.2f}", one.verdict,
            )
            for one in judged
        ],
    )  # fmt: skip


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)
