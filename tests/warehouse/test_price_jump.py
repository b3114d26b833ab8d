"""The data test `assert_no_price_jump` knows how much time passed between two quotes."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.warehouse.warehouse import Warehouse, reported

TEST = "assert_no_price_jump"
MOVE = 0.0002
"""A quote's usual move, up and down in turn: one standard deviation."""


def stage(warehouse: Warehouse, today: datetime, gaps: list[float], moves: list[float]) -> None:
    """Make silver's table: quotes that are `gaps` (s) apart, and move by `moves`."""
    at, price = today - timedelta(days=1), 100.0
    rows = [(at, price)]
    for gap, move in zip(gaps, moves, strict=True):
        at, price = at + timedelta(seconds=gap), price * (1 + move)
        rows.append((at, price))
    values = ", ".join(f"(1, 'BTC', timestamp '{at:%Y-%m-%d %H:%M:%S.%f}', {price!r}::double)" for at, price in rows)
    table = f"(values {values}) as quotes (id, symbol, last_updated, price)"
    warehouse.prepare()
    warehouse.execute(
        "create schema if not exists lake_silver; create or replace table lake_silver.crypto_stage as "
        f"select *, timestamp '{today:%Y-%m-%d %H:%M:%S}' as loaded_at from {table}"
    )


@pytest.mark.parametrize(
    ("gap", "move", "finds"),
    [
        (180.0, 13 * MOVE, False),  # a random walk moves 13 deviations in 180 intervals
        (180.0, 200 * MOVE, True),
        (1.0, 13 * MOVE, True),
        (0.001, 7 * MOVE, False),  # a shorter interval does not make a usual move a jump
        (0.001, 13 * MOVE, True),
    ],
)
def test_a_jump_is_judged_by_the_time_between_two_quotes(
    warehouse: Warehouse, today: datetime, gap: float, move: float, finds: bool
) -> None:
    usual = [MOVE, -MOVE] * 150
    stage(warehouse, today, [1.0] * 300 + [gap], [*usual, move])
    assert (TEST in reported(warehouse.dbt("test", "--select", TEST))) == finds
