"""The data test `assert_no_price_jump` knows how much time passed between two quotes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.warehouse.warehouse import Warehouse, reported

TEST = "assert_no_price_jump"
MOVE = 0.0002
"""A quote's usual move, up and down in turn: one standard deviation."""


LAST_MOVES = [
    (180.0, 13 * MOVE, False),  # a random walk moves 13 deviations in 180 intervals
    (180.0, 200 * MOVE, True),
    (1.0, 13 * MOVE, True),
    (0.001, 7 * MOVE, False),  # a shorter interval does not make a usual move a jump
    (0.001, 13 * MOVE, True),
]
"""Seconds since the quote before, the move, and whether it is a jump."""


def quotes(coin: int, start: datetime, gaps: list[float], moves: list[float]) -> Iterator[str]:
    """Rows of quotes that are `gaps` (s) apart, and move by `moves`."""
    at, price = start, 100.0
    for gap, move in [(0.0, 0.0), *zip(gaps, moves, strict=True)]:
        at, price = at + timedelta(seconds=gap), price * (1 + move)
        yield f"({coin}, 'COIN{coin}', timestamp '{at:%Y-%m-%d %H:%M:%S.%f}', {price!r}::double)"


@pytest.fixture(scope="module")
def jumps(tmp_path_factory: pytest.TempPathFactory, dbt_artifacts: Path) -> set[tuple[str, float]]:
    """What the test finds in a table with a coin for each of the last moves: the coin, and the seconds of the move."""
    warehouse = Warehouse(tmp_path_factory.mktemp("jumps"), dbt_artifacts, "lake", "http://127.0.0.1:1")
    now, usual = datetime.now(UTC), [MOVE, -MOVE] * 150
    rows = [
        row
        for coin, (gap, move, _) in enumerate(LAST_MOVES)
        for row in quotes(coin, now - timedelta(days=1), [1.0] * 300 + [gap], [*usual, move])
    ]
    warehouse.prepare()
    warehouse.execute(
        f"create schema lake_silver; create table lake_silver.crypto_stage as select *, timestamp '{now:%F %T}' "
        f"as loaded_at from (values {', '.join(rows)}) as quotes (id, symbol, last_updated, price)"
    )
    assert reported(warehouse.dbt("test", "--select", TEST)) == {TEST}
    return set(warehouse.query(f"select symbol, seconds from lake_test_failures.{TEST}"))


@pytest.mark.parametrize("coin", range(len(LAST_MOVES)))
def test_a_jump_is_judged_by_the_time_between_two_quotes(coin: int, jumps: set[tuple[str, float]]) -> None:
    gap, _, is_jump = LAST_MOVES[coin]
    assert {seconds for symbol, seconds in jumps if symbol == f"COIN{coin}"} == ({gap} if is_jump else set())
