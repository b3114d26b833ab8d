"""The data tests as the page shows them: latest result, last runs, failing rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from include.catalogue import LAYERS
from include.monitoring.page.health import PipelineHealth
from include.state.dbt_tests import DbtTests, FailingTest
from include.state.test_runs import Run, TestRuns

GROUPS: dict[str, str] = {
    **{layer: layer.capitalize() for layer in LAYERS},
    "cross_layer": "Across layers",
    "": "Seeds and test history",
}
EVERY_ROW = "Every row, once a day"
_STATUS = {"pass": "pass", "warn": "warn", "fail": "fail", "error": "fail"}


@dataclass(frozen=True, slots=True)
class TestRow:
    """One test. `strip` has its last runs, oldest first; `rows` some failing rows as text."""

    name: str
    model: str
    status: str
    failures: int
    since: datetime | None
    flaky: bool
    owner: str
    strip: tuple[Run, ...]
    url: str
    message: str = ""
    rows: str = ""

    @property
    def passes(self) -> bool:
        """Whether the latest run passed."""
        return self.status == "pass"


@dataclass(frozen=True, slots=True)
class TestGroup:
    """The tests of one layer, those that do not pass first."""

    title: str
    tests: tuple[TestRow, ...]

    @property
    def failing(self) -> tuple[TestRow, ...]:
        """Those that do not pass."""
        return tuple(test for test in self.tests if test.status in ("fail", "warn"))

    @property
    def passing(self) -> int:
        """Number of tests that pass."""
        return sum(test.passes for test in self.tests)

    @property
    def flaky(self) -> int:
        """Number of tests that change often between passing and failing."""
        return sum(test.flaky for test in self.tests)


def shape(run: Run) -> str:
    """How the strip draws a run: pass, warn, fail or skip, each with a form of its own."""
    return _STATUS.get(run.status, "skip")


_SHAPES = {
    "pass": "v8h8v-8z",
    "warn": "m4-4l4 11h-8z",
    "fail": "m0-4v16h8v-16zm1.6 4.4l1.2-1.2 5 5-1.2 1.2z",
    "skip": "m2 3h4v2h-4z",
}
"""The form of a result in the strip, from the left upper corner of its place: no result differs by colour alone."""


def strip(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The strip as one SVG path for each kind of result: small, because there are many tests."""
    paths: dict[str, str] = {}
    for place, run in enumerate(runs):
        kind = shape(run)
        paths[kind] = f"{paths.get(kind, '')}M{place * 11} 4{_SHAPES[kind]}"
    return list(paths.items())


def history(runs: Sequence[Run]) -> str:
    """The strip in words, the newest run first: 3 fail, 21 pass."""
    groups = [(kind, len(list(same))) for kind, same in groupby(shape(run) for run in reversed(runs))]
    return "Last runs, the newest first: " + ", ".join(f"{count} {kind}" for kind, count in groups)


def groups(runs: Sequence[TestRuns], health: PipelineHealth) -> list[TestGroup]:
    """The tests by layer. The daily tests over every row are a group of their own, because they check other rows."""
    failing = _failing(health)
    named: dict[str, list[TestRow]] = {title: [] for title in (*GROUPS.values(), EVERY_ROW)}
    for test in runs:
        daily = test.task == "lakehouse_maintenance.test_all_rows"
        title = EVERY_ROW if daily else GROUPS.get(test.layer, GROUPS[""])
        named[title].append(_row(test, failing.get(test.name) if shape(test.newest) in ("fail", "warn") else None))
    order = {"fail": 0, "warn": 1, "skip": 2, "pass": 3}
    return [
        TestGroup(title, tuple(sorted(rows, key=lambda row: (order[row.status], not row.flaky, row.name))))
        for title, rows in named.items()
        if rows
    ]


def _failing(health: PipelineHealth) -> dict[str, FailingTest]:
    states: list[DbtTests] = [layer.state.tests for layer in health.layers if layer.state]
    states += [other.tests for other in health.other_tests]
    return {test.name: test for tests in states for test in tests.failing}


def _task_link(test: TestRuns) -> str:
    """The task that ran the test last, in Airflow's page of the run; empty without a run."""
    task_id = test.task.partition(".")[2]
    return f"{test.url}/tasks/{task_id}" if test.url and task_id else test.url


def _row(test: TestRuns, failing: FailingTest | None) -> TestRow:
    newest = test.newest
    since = failing.since if failing and failing.since else test.failing_since
    return TestRow(
        test.name,
        test.model,
        shape(newest),
        newest.failures,
        since,
        test.flaky,
        test.owner,
        tuple(test.runs),
        _task_link(test),
        failing.message if failing else "",
        failing.rows if failing else "",
    )
