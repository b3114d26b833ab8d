"""Counts of dbt's tests, and the text about a failing test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from include.state.dbt_tests import NO_TESTS, DbtTests, FailingTest

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
PRICE = FailingTest("price_in_range", "warn", 2, "Got 2 results")
SYMBOL = FailingTest("not_null_symbol", "error", 7, "Got 7 results", rows="symbol=null")


def test_a_report_names_place_severity_count_message_and_rows() -> None:
    assert PRICE.report("silver") == "silver (warn), 2 failing rows: Got 2 results"
    dated = FailingTest("a", "error", 1, "Got 1 result", since=NOW + timedelta(milliseconds=5), rows="id=7")
    assert dated.report("silver") == (
        "silver (error), 1 failing row, since 2026-11-23T14:30:00Z: Got 1 result\nsample rows:\nid=7"
    )


def test_the_sum_has_the_counts_and_failing_tests_of_both() -> None:
    assert sum([DbtTests(4, 1, 0, (PRICE,)), DbtTests(3, 0, 1, (SYMBOL,))], NO_TESTS) == DbtTests(
        7, 1, 1, (PRICE, SYMBOL)
    )


def test_since_is_taken_over_while_a_test_keeps_failing() -> None:
    first = DbtTests(4, 1, 0, (PRICE,)).dated(None, NOW)
    later = DbtTests(3, 1, 1, (PRICE, SYMBOL)).dated(first, NOW + timedelta(hours=1))
    assert [test.since for test in later.failing] == [NOW, NOW + timedelta(hours=1)]


def test_since_begins_again_after_a_run_without_the_failure() -> None:
    passed = DbtTests(5, 0, 0, ())
    later = DbtTests(4, 1, 0, (PRICE,)).dated(passed, NOW + timedelta(hours=3))
    assert later.failing[0].since == NOW + timedelta(hours=3)
