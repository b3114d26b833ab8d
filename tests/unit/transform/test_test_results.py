"""dbt's run results become the layer's test counts."""

from __future__ import annotations

from datetime import UTC, datetime

from include.transform import failing_rows, test_results
from include.watch.run_results import Invocation, TestResult


def result(name: str, status: str, failures: int = 0, message: str = "", stored_in: str = "") -> TestResult:
    node_id = f"test.crypto_lakehouse.{name}.0123456789"
    return TestResult(node_id, name, "silver", "m", "error", status, failures, 0.1, message, stored_in)


def test_each_status_is_counted_as_what_it_is() -> None:
    tests = (
        result("unique_record_id", "pass"),
        result("price_in_range_price", "warn", 3, "Got 3 results", stored_in="prices"),
        result("not_null_symbol", "fail", 7, "Got 7 results", stored_in="symbols"),
        result("broken_sql", "error", message="no such column"),
        result("behind_a_failure", "skipped"),
    )
    invocation = Invocation("id", datetime.now(UTC), tests)
    counted = test_results.summarise(test_results.as_xcom(invocation, {"prices": "price=-1"}))
    assert (counted.passed, counted.warned, counted.failed) == (1, 1, 2)
    assert [(test.name, test.severity, test.failures, test.rows) for test in counted.failing] == [
        ("price_in_range_price", "warn", 3, "price=-1"),
        ("not_null_symbol", "error", 7, ""),
        ("broken_sql", "error", 0, ""),
    ]


def test_rows_are_short_lines() -> None:
    rows: list[dict[str, str | None]] = [
        {"id": "7", "price": None, "record": "x" * 500},
        {"id": "8", "price": "1.5", "record": "two\nlines"},
    ]
    first, second = failing_rows.as_text(rows).splitlines()
    assert first == f"id=7 price=null record={'x' * failing_rows.LONGEST_VALUE}..."
    assert second == "id=8 price=1.5 record=two lines"
