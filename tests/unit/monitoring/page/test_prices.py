from __future__ import annotations

import pytest

from include.monitoring.page import prices
from include.state.kpis import Kpis
from tests.unit.monitoring.page.states import NOW, RUN, coin


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "unknown"), (64123.12, "$64,123.12"), (2.4107, "$2.4107"), (0.5, "$0.5000"), (0.0001234, "$0.0001234")],
)
def test_a_price_has_digits_enough(value: float | None, text: str) -> None:
    assert prices.price(value) == text


def test_a_coin_shows_its_kpis_and_what_is_not_known() -> None:
    (shown,) = prices.coins(Kpis(NOW, (coin(),), RUN))
    assert [(change.span, change.text, change.direction) for change in shown.changes] == [
        ("24 h", "-1.50 %", "down"),
        ("1 h", "+0.12 %", "up"),
        ("7 d", "+0.00 %", ""),
        ("30 d", "unknown", ""),
    ]
    assert dict(shown.facts) == {
        "High, 24 h": "$70,535.43",
        "Low, 24 h": "$57,710.81",
        "Volatility, 7 d": "2.41 %",
        "Drawdown, 30 d": "unknown",
        "Quotes, 24 h": "8,640",
    }
    assert shown.course.startswith("hourly prices of 48 hours: from $57,710.81 to $64,123.12")


def test_without_kpis_there_are_no_coins() -> None:
    assert prices.coins(None) == ()
