"""dbt's run results become the layer's test counts."""

from __future__ import annotations

from include.transform import test_results


def result(unique_id: str, status: str, failures: int | None = None, message: str | None = None) -> dict[str, object]:
    return {"unique_id": unique_id, "status": status, "failures": failures, "message": message}


def test_each_status_is_counted_as_what_it_is() -> None:
    tests = test_results.from_run_results(
        {
            "results": [
                result("model.crypto_lakehouse.crypto_raw", "success"),
                result("test.crypto_lakehouse.unique_record_id.0123456789", "pass", 0),
                result("test.crypto_lakehouse.price_in_range_price.abcdef0123", "warn", 3, "Got 3 results"),
                result("test.crypto_lakehouse.not_null_symbol.abcdef0123", "fail", 7, "Got 7 results"),
                result("test.crypto_lakehouse.broken_sql.abcdef0123", "error", None, "no such column"),
                result("test.crypto_lakehouse.behind_a_failure.abcdef0123", "skipped"),
            ]
        }
    )
    counted = test_results.summarise(tests)
    assert (counted.passed, counted.warned, counted.failed) == (1, 1, 2)
    assert [(test.name, test.severity, test.failures) for test in counted.failing] == [
        ("price_in_range_price", "warn", 3),
        ("not_null_symbol", "error", 7),
        ("broken_sql", "error", 0),
    ]
