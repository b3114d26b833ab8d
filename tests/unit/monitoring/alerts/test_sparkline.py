"""Numbers as a line of characters."""

from __future__ import annotations

import pytest

from include.monitoring.alerts.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([5, None, 5], "█·█"),
        ([0, 0], "▁▁"),
        ([-1, 0], "▁█"),
        ([], ""),
        ([None], "·"),
    ],
)
def test_each_value_is_a_bar_from_zero(values: list[float | None], line: str) -> None:
    assert sparkline(values) == line
