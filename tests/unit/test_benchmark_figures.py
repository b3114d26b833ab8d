"""What the landing benchmark makes of its drains: figures, verdicts, the guide's tables."""

from __future__ import annotations

import pytest

from benchmarks.landing.figures import (
    goal_table,
    judge,
    scaling_figures,
    speed_figures,
    speed_table,
)
from benchmarks.landing.rig import HERE, Drain


def drain(program: str, speed: int, cpu: float, *, size: int = 100, rss: int = 100, processes: int = 1) -> Drain:
    return Drain(program, size, 1, processes, 1000, 10, 1.0, speed, cpu, cpu - 1, rss, 0.5)


ROUNDS = [
    [drain("ours", 200, 8.0), drain("floor", 220, 7.0), drain("quix", 20, 50.0)],
    [drain("floor", 100, 8.0), drain("ours", 50, 9.0, rss=150)],
    [drain("ours", 120, 10.0), drain("floor", 100, 8.0)],
]


def test_figures_are_medians_over_rounds_and_ratios_are_of_one_round() -> None:
    figures = speed_figures(ROUNDS)
    assert figures["100.messages_per_second"] == 120
    assert figures["100.cpu_us"] == 9.0
    assert figures["100.peak_rss_mb"] == 150
    assert figures["100.speed_over_floor"] == pytest.approx(200 / 220)
    assert figures["100.cpu_over_floor"] == pytest.approx(7 / 6)
    assert figures["100.speed_over_quix"] == 10


def test_scaling_compares_without_the_start() -> None:
    pair = [drain("ours", 100, 6.0, processes=2), drain("ours", 80, 5.0)]
    assert scaling_figures([pair]) == {"two_consumers.cpu_over_one": 5 / 4, "two_consumers.speed_over_one": 100 / 80}


def test_goals_are_met_missed_or_not_measured_and_the_table_says_which() -> None:
    bounds = '[at_least]\n"a" = 2\n"b" = 2\n[at_most]\n"c" = 1\n"d" = 1\n'
    judged = judge(bounds, {"a": 2.0, "b": 1.9, "c": 1.1})
    assert [one.verdict for one in judged] == ["met", "MISSED", "MISSED", "not measured"]
    assert "| `b` | at least 2 | 1.90 | MISSED |" in goal_table(judged)


def test_every_goal_is_of_a_figure_that_the_benchmark_makes() -> None:
    programs = [
        drain(name, 100, 5.0, size=size) for name in ("ours", "floor", "benthos", "quix") for size in (100, 10_000)
    ]
    figures = speed_figures([programs]) | scaling_figures([[drain("ours", 1, 2.0), drain("ours", 1, 2.0, processes=2)]])
    named = [one.name for one in judge((HERE / "bounds.toml").read_text(), figures) if one.measured is None]
    assert named == ["s3_away.peak_rss_mb"]


def test_the_table_is_sorted_by_speed() -> None:
    lines = speed_table(ROUNDS).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["ours", "floor", "quix"]
    assert "10.00 x" in lines[4]
