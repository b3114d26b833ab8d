"""Turns drains into figures and tables. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.figures import Values, markdown
from benchmarks.landing.rig import Drain

Rounds = Sequence[Sequence[Drain]]
"""Drains by round, in the order in which they ran."""


def speed_figures(rounds: Rounds) -> Values:
    """Our consumer's figures for each file size, and its ratio to each other program."""
    figures: Values = {}
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
        figures[f"{size}.cpu_us"] = median(drain.cpu_us for drain in own)
        figures[f"{size}.peak_rss_mb"] = max(drain.peak_rss_mb for drain in own)
        for program, both in pairs.items():
            others = [other for _, other in both]
            for name in ("messages_per_second", "steady_cpu_us"):
                figures[f"{size}.{name}.{program}"] = median(getattr(other, name) for other in others)
            if program != "ours":
                speeds = [ours.messages_per_second / other.messages_per_second for ours, other in both]
                figures[f"{size}.speed_over_{program}"] = median(speeds)
                # A drain that ends between two looks at the files has no CPU after its start.
                costs = [ours.steady_cpu_us / other.steady_cpu_us for ours, other in both if other.steady_cpu_us]
                if costs:
                    figures[f"{size}.cpu_over_{program}"] = median(costs)
    return figures


def scaling_figures(rounds: Rounds) -> Values:
    """Ratios of two consumers to one. Each round has a drain of both."""
    if not rounds:
        return {}
    pairs = [sorted(drains, key=lambda drain: drain.processes) for drains in rounds]
    return {
        "two_consumers.cpu_over_one": median(two.steady_cpu_us / one.steady_cpu_us for one, two in pairs),
        "two_consumers.speed_over_one": median(two.messages_per_second / one.messages_per_second for one, two in pairs),
    }


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
            f"{max(drain.peak_rss_mb for drain in drains)} MB",
            f"{median(drain.servers_busy for drain in drains):.0%}", str(len(drains)), f"{min(loads)} to {max(loads)}",
        )  # fmt: skip
        rows.append(((size, -speed), row))
    header = ("program", "records a file", "msg/s", "ours is", "CPU-µs a message", "of it after start",
              "ours needs", "peak RSS", "servers busy", "runs", "load before")  # fmt: skip
    return markdown(header, [row for _, row in sorted(rows)])


def scenario_table(drains: Iterable[tuple[str, Drain]]) -> str:
    """Named drains as a Markdown table."""
    header = ("what", "msg/s", "CPU-µs a message", "of it after start", "peak RSS of a process", "servers busy",
              "load before")  # fmt: skip
    return markdown(
        header,
        [
            (
                name, f"{drain.messages_per_second:,}", f"{drain.cpu_us:.2f}", f"{drain.steady_cpu_us:.2f}",
                f"{drain.peak_rss_mb} MB", f"{drain.servers_busy:.0%}", str(drain.load),
            )
            for name, drain in drains
        ],
    )  # fmt: skip
