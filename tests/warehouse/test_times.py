"""Silver reads the times that the consumer accepts, each as the same instant, and no others."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.times_of_quotes import TIMES, Time
from tests.warehouse.warehouse import Warehouse


@pytest.fixture(scope="module")
def expression(dbt_artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What silver computes from column `text`, on DuckDB."""
    warehouse = Warehouse(tmp_path_factory.mktemp("times"), dbt_artifacts, "lake", "http://127.0.0.1:9")
    [result] = warehouse.invoke("compile", "--inline", "{{ timestamp_from_iso(trimmed('text')) }}")
    return f"date_trunc('millisecond', {result.node.compiled_code})"


@given(times=st.lists(TIMES, min_size=1, max_size=30))
def test_silver_reads_each_time_that_the_consumer_accepts(expression: str, times: list[Time]) -> None:
    accepted = {time.text: instant for time in times if (instant := time.as_accepted()) is not None}
    with duckdb.connect() as connection:
        rows = connection.execute(f"select text, {expression} from (select unnest(?) as text)", [list(accepted)])
        assert dict(rows.fetchall()) == accepted


@given(times=st.lists(TIMES, min_size=1, max_size=30))
def test_silver_reads_no_time_that_the_consumer_refuses(expression: str, times: list[Time]) -> None:
    """Silver cuts what the consumer rounds, so it may read the last microsecond of the year 9999, too."""
    rounded_up = {time.text for time in times if time.clock.startswith("9999") and not time.is_of_the_calendar}
    expected = {time.text: time.is_accepted for time in times if time.text not in rounded_up}
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"select text, {expression} is not null from (select unnest(?) as text)", [list(expected)]
        )
        assert dict(rows.fetchall()) == expected
