"""The outcome of dbt's tests in each state object: counts, and the tests that did not pass."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from include.instants import Instant, to_second

TestSeverity = Literal["error", "warn"]


class FailingTest(msgspec.Struct, frozen=True):
    """A dbt test that failed (`error`) or warned (`warn`) in the last build or run.

    `failures` is dbt's count of failing rows. `since` is the end of the first of the builds in
    which it has failed without a break. `rows` is a text with some of the failing rows.
    """

    name: str
    severity: TestSeverity
    failures: int
    message: str
    since: Instant | None = None
    rows: str = ""

    @property
    def failing_rows(self) -> str:
        """Their number in words."""
        return f"{self.failures} failing {'row' if self.failures == 1 else 'rows'}"

    def report(self, place: str) -> str:
        """The text of the test's alert. `place` is the layer, or `dag_id.task_id` of a task outside the layers."""
        since = f", since {to_second(self.since)}" if self.since else ""
        rows = f"\nsample rows:\n{self.rows}" if self.rows else ""
        return f"{place} ({self.severity}), {self.failing_rows}{since}: {self.message}{rows}"


class DbtTests(msgspec.Struct, frozen=True):
    """Counts of tests in the last build or run; `failing` has the tests that warned or failed."""

    passed: int
    warned: int
    failed: int
    failing: tuple[FailingTest, ...]

    def __add__(self, other: DbtTests) -> DbtTests:
        """The tests of both operands."""
        return DbtTests(
            self.passed + other.passed,
            self.warned + other.warned,
            self.failed + other.failed,
            self.failing + other.failing,
        )

    def dated(self, before: DbtTests | None, finished_at: datetime) -> DbtTests:
        """The tests with `since` filled in: taken over from `before` while a test keeps failing, else `finished_at`."""
        known = {test.name: test.since for test in before.failing} if before else {}
        dated = (replace(test, since=test.since or known.get(test.name) or finished_at) for test in self.failing)
        return replace(self, failing=tuple(dated))


NO_TESTS = DbtTests(0, 0, 0, ())
