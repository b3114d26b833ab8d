"""Turns drains into figures, and figures into verdicts and the guide's tables. Pure functions."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from benchmarks.landing.rig import Drain

Figures = dict[str, float]
Rounds = Sequence[Sequence[Drain]]
"""Drains by round, in the order in which they ran."""


def speed_figures(rounds: Rounds) -> Figures:
    """Our consumer's figures for each file size, and its ratio to each other program."""
    figures: Figures = {}
    for size in sorted({drain.records_a_file for drains in rounds for drain in drains}):
        pairs: dict[str, list[tuple[Drain, Drain]]] = {}
        for drains in rounds:
            by_program = {drain.program: drain for drain in drains if drain.records_a_file == size}
            if "ours" in by_program:
                for program, drain in by_program.items():
                    pairs.setdefault(program, []).append((by_program["ours"], drain))
        own = [ours for ours, _ in pairs.get("ours", [])]
        if not own:
            continue
        figures[f"{size}.messages_per_second"] = median(drain.messages_per_second for drain in own)
        figures[f"{size}.cpu_us"] = median(drain.cpu_us for drain in own)
        figures[f"{size}.peak_rss_mb"] = max(drain.peak_rss_mb for drain in own)
        for program, both in pairs.items():
            if program != "ours":
                speeds = [ours.messages_per_second / other.messages_per_second for ours, other in both]
                figures[f"{size}.speed_over_{program}"] = median(speeds)
                figures[f"{size}.cpu_over_{program}"] = median(
                    ours.steady_cpu_us / other.steady_cpu_us for ours, other in both
                )
    return figures


def scaling_figures(rounds: Rounds) -> Figures:
    """Ratios of two consumers to one. Each round has a drain of both."""
    if not rounds:
        return {}
    pairs = [sorted(drains, key=lambda drain: drain.processes) for drains in rounds]
    return {
        "two_consumers.cpu_over_one": median(two.steady_cpu_us / one.steady_cpu_us for one, two in pairs),
        "two_consumers.speed_over_one": median(two.messages_per_second / one.messages_per_second for one, two in pairs),
    }


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal and the measured figure; `measured` is None when the figure was not measured."""

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
        """The verdict for the table."""
        return "met" if self.met else "not measured" if self.measured is None else "MISSED"


def judge(bounds: str, figures: Figures) -> list[Goal]:
    """Compare every goal of the bounds file (TOML text) with the figures."""
    goals = tomllib.loads(bounds)
    kinds: tuple[Literal["at_least"], Literal["at_most"]] = ("at_least", "at_most")
    return [Goal(name, kind, value, figures.get(name)) for kind in kinds for name, value in goals[kind].items()]


def speed_table(rounds: Rounds) -> str:
    """Medians of each program as a Markdown table, fastest first."""
    figures = speed_figures(rounds)
    groups: dict[tuple[int, str], list[Drain]] = {}
    for drains in rounds:
        for drain in drains:
            groups.setdefault((drain.records_a_file, drain.program), []).append(drain)
    rows = []
    for (size, program), drains in groups.items():
        speed = median(drain.messages_per_second for drain in drains)
        loads = [drain.load for drain in drains]
        over = {name: figures.get(f"{size}.{name}_over_{program}", 1.0) for name in ("speed", "cpu")}
        row = (
            program, f"{size:,}", f"{speed:,.0f}", f"{over['speed']:.2f} x",
            f"{median(drain.cpu_us for drain in drains):.2f}", f"{median(drain.steady_cpu_us for drain in drains):.2f}",
            f"{over['cpu']:.2f} x",
            f"{max(drain.peak_rss_mb for drain in drains)} MB", str(len(drains)), f"{min(loads)} to {max(loads)}",
        )  # fmt: skip
        rows.append(((size, -speed), row))
    header = ("program", "records a file", "msg/s", "ours is", "CPU-µs a message", "of it after start",
              "ours needs", "peak RSS", "runs", "load before")  # fmt: skip
    return markdown(header, [row for _, row in sorted(rows)])


def scenario_table(drains: Iterable[tuple[str, Drain]]) -> str:
    """Named drains as a Markdown table."""
    header = ("what", "msg/s", "CPU-µs a message", "of it after start", "peak RSS of a process", "load before")
    return markdown(
        header,
        [
            (
                name, f"{drain.messages_per_second:,}", f"{drain.cpu_us:.2f}", f"{drain.steady_cpu_us:.2f}",
                f"{drain.peak_rss_mb} MB", str(drain.load),
            )
            for name, drain in drains
        ],
    )  # fmt: skip


def goal_table(goals: Iterable[Goal]) -> str:
    """Goals and verdicts as a Markdown table."""
    header = ("figure", "goal", "measured", "verdict")
    return markdown(
        header,
        [
            (
                f"`{goal.name}`", f"{goal.bound.replace('_', ' ')} {goal.goal:g}",
                "-" if goal.measured is None else f"{goal.measured:.2f}", goal.verdict,
            )
            for goal in goals
        ],
    )  # fmt: skip


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)
