"""The content of dbt's two files becomes an `Invocation`."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.transform import run_results
from tests.unit.transform.artifacts import INVOCATION_ID, MANIFEST, RUN_RESULTS


def test_tests_are_read_with_their_layer_and_the_table_of_their_rows() -> None:
    invocation = run_results.from_artifacts(RUN_RESULTS, MANIFEST)
    assert invocation.invocation_id == INVOCATION_ID
    assert [(test.name, test.layer, test.status, test.stored_in) for test in invocation.tests] == [
        ("not_null_crypto_raw_id", "bronze", "pass", ""),
        ("price_in_range_crypto_raw", "bronze", "warn", '"lake"."test_failures"."price_in_range"'),
        ("assert_nothing_is_lost", "cross_layer", "skipped", ""),
    ]
    assert [test.owner for test in invocation.tests] == ["Ingestion"] * 3
    assert invocation.scanned == {"crypto_raw": 1200, "crypto_raw,crypto_stage": 30}


def test_absent_and_broken_files_are_different_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_results.read(tmp_path)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "manifest.json").write_text("{}")
    for text in ("{", "{}", "[]"):
        (tmp_path / "target" / "run_results.json").write_text(text)
        with pytest.raises(run_results.RunResultsError, match="does not have dbt's results"):
            run_results.read(tmp_path)
