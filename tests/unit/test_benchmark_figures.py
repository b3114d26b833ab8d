"""Benchmarks turn measurements into figures, and figures into verdicts and tables."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

from benchmarks.__main__ import MODULES, worst
from benchmarks.figures import BoundsError, bounds_table, judge, number
from benchmarks.landing.__main__ import LOCKS, versions
from benchmarks.landing.cores import TICKS, Cores, busy_seconds, split
from benchmarks.landing.figures import scaling_figures, speed_figures, speed_table
from benchmarks.landing.rig import PROGRAMS, Drain
from benchmarks.results import BOUNDS, exit_status
from include.settings import PROJECT_ROOT


def drain(program: str, speed: int, cpu: float, *, size: int = 100, rss: int = 100, processes: int = 1) -> Drain:
    return Drain(program, size, 1, processes, 1000, 10, 1.0, speed, cpu, cpu - 1, rss, 0.4, 0.5)


ROUNDS = [
    [drain("ours", 200, 8.0), drain("floor", 220, 7.0), drain("quix", 20, 50.0)],
    [drain("floor", 100, 8.0), drain("ours", 50, 9.0, rss=150)],
    [drain("ours", 120, 10.0), drain("floor", 100, 8.0)],
]


def test_figures_are_medians_over_rounds_and_ratios_compare_a_round() -> None:
    figures = speed_figures(ROUNDS)
    assert figures["100.messages_per_second.ours"] == 120
    assert figures["100.steady_cpu_us.floor"] == 7.0
    assert figures["100.cpu_us"] == 9.0
    assert figures["100.peak_rss_mb"] == 150
    assert figures["100.speed_over_floor"] == pytest.approx(200 / 220)
    assert figures["100.cpu_over_floor"] == pytest.approx(7 / 6)
    assert figures["100.speed_over_quix"] == 10


def test_a_drain_too_short_for_its_cpu_has_no_ratio_of_it() -> None:
    figures = speed_figures([[drain("ours", 200, 8.0), drain("native", 400, 1.0)]])
    assert figures["100.speed_over_native"] == 0.5
    assert "100.cpu_over_native" not in figures


def test_scaling_excludes_the_cpu_of_the_start() -> None:
    pair = [drain("ours", 100, 6.0, processes=2), drain("ours", 80, 5.0)]
    assert scaling_figures([pair]) == {"two_consumers.cpu_over_one": 5 / 4, "two_consumers.speed_over_one": 100 / 80}


def test_the_table_says_which_bounds_are_met_missed_or_not_measured() -> None:
    bounds = "[x]\na = {at_least = 2}\nb = {at_least = 2}\nc = {at_most = 1, goal = 0.5}\nd = {at_most = 1}\n"
    bounds += "e = {goal = 45}\n[y]\nf = {at_most = 1}\n"
    judged = judge(bounds, "x", {"a": 2.0, "b": 1.9, "c": 0.7, "e": 50.0})
    assert [bound.verdict for bound in judged] == ["met", "MISSED", "met", "not measured", "met"]
    table = bounds_table(judged)
    assert "| `b` | at least 2 | 1.90 | MISSED |  |" in table
    assert "| `c` | at most 1 | 0.7 | met | 0.5: not reached |" in table
    assert "| `d` | at most 1 | - | not measured |  |" in table
    assert "| `e` |  | 50 |  | 45: not reached |" in table


@pytest.mark.parametrize("row", ["{}", "{wish = 2}", "{at_most = 1, at_least = 2}", "{at_most = 1, wish = 2}"])
def test_a_bound_that_is_not_understood_is_an_error(row: str) -> None:
    with pytest.raises(BoundsError, match="write one of at_least and at_most"):
        judge(f"[x]\na = {row}\n", "x", {"a": 1.0})


def test_a_broken_bound_fails_before_a_missing_figure(capsys: pytest.CaptureFixture[str]) -> None:
    bounds = "[x]\na = {at_most = 1}\nb = {at_most = 1}\n"
    assert exit_status("x", judge(bounds, "x", {"a": 1.0, "b": 1.0})) == 0
    assert exit_status("x", judge(bounds, "x", {"a": 1.0})) == 2
    assert exit_status("x", judge(bounds, "x", {"a": 1.1})) == 1
    *_, complaint, summary = capsys.readouterr().out.splitlines()
    assert complaint == (
        "x: a is 1.10, but benchmarks/bounds.toml wants at most 1. Run `make bench BENCH=x` again without other work. "
        "If it stays, find the commit with `git bisect`."
    )
    assert summary == "x: 2 bounds, missed: ['a'], not measured: ['b']"
    assert [worst(statuses) for statuses in ([], [0, 0], [0, 2], [2, 1], [0, -9])] == [0, 0, 2, 1, 1]


def test_every_bound_of_the_landing_is_about_one_of_its_figures() -> None:
    programs = [drain(name, 100, 5.0, size=size) for name in PROGRAMS for size in (100, 10_000)]
    figures = speed_figures([programs]) | scaling_figures([[drain("ours", 1, 2.0), drain("ours", 1, 2.0, processes=2)]])
    judged = judge(BOUNDS.read_text(), "landing", figures)
    assert [bound.figure for bound in judged if bound.measured is None] == ["s3_away.peak_rss_mb"]


def test_the_versions_of_servers_and_peers_are_known() -> None:
    assert re.sub(r" \d+(\.\d+)+(-\S+)?", "", versions()) == ", ".join(name for name, *_ in LOCKS)


@pytest.mark.parametrize("name", MODULES)
def test_make_bench_needs_no_arguments_for_the_figures(name: str) -> None:
    tree = ast.parse((PROJECT_ROOT / MODULES[name].replace(".", "/")).with_suffix(".py").read_text())
    [made] = [each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "figures"]
    assert len(made.args.args) == len(made.args.defaults)


def test_the_bounds_file_has_a_table_for_each_benchmark() -> None:
    bounds = BOUNDS.read_text()
    assert tomllib.loads(bounds).keys() == MODULES.keys()
    assert all(judge(bounds, name, {}) for name in MODULES)


def test_no_bound_is_a_time_that_depends_on_the_machine() -> None:
    bounds = [bound for name in MODULES for bound in judge(BOUNDS.read_text(), name, {}) if bound.limit is not None]
    times = re.compile(r"seconds$|_us$|\.p\d+$|share_of_a_core$")
    assert [bound.figure for bound in bounds if times.search(bound.figure)] == []


def test_the_program_has_a_core_that_no_server_uses() -> None:
    assert split({0, 1}) == Cores(servers=frozenset({0}), program=frozenset({1}))
    assert split({2, 3, 5, 7}) == Cores(servers=frozenset({2, 3, 5}), program=frozenset({7}))
    assert split({4}) == Cores(servers=frozenset({4}), program=frozenset({4}))


def test_a_busy_core_counts_neither_idle_nor_waiting_nor_guests() -> None:
    stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 4 100 200 8 16 32 9 9\ncpu1 1 0 0 5 5 0 0 0 0 0\nintr 1\n"
    assert busy_seconds({0}, stat) * TICKS == pytest.approx(63)
    assert busy_seconds({0, 1}, stat) * TICKS == pytest.approx(64)


@pytest.mark.parametrize(
    ("value", "text"), [(0.00341, "0.00341"), (1.2345, "1.23"), (3.0, "3"), (132_696.4, "132,696")]
)
def test_a_number_has_the_digits_that_a_reader_needs(value: float, text: str) -> None:
    assert number(value) == text


def test_the_table_is_sorted_by_speed() -> None:
    lines = speed_table(ROUNDS).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["ours", "floor", "quix"]
    assert "10.00 x" in lines[4]
