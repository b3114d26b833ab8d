"""The age of a layer's data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.monitoring.checks import freshness
from include.state.dbt_tests import NO_TESTS
from include.state.layer_state import DagRunRef, LayerState

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
LANDED = NOW - timedelta(hours=3)


def built(newest_quote_at: datetime | None) -> LayerState:
    return LayerState("gold", "crypto_curated", 12, newest_quote_at, NOW, NO_TESTS, DagRunRef("d", "r", "http://a"))


@pytest.mark.parametrize(
    ("state", "first_landed", "age"),
    [
        pytest.param(built(NOW - timedelta(minutes=3)), None, 180.0, id="newest quote"),
        pytest.param(built(NOW - timedelta(minutes=3)), LANDED, 180.0, id="newest quote, not the oldest object"),
        pytest.param(None, LANDED, 10800.0, id="never built: oldest object"),
        pytest.param(built(None), LANDED, 10800.0, id="no rows: oldest object"),
        pytest.param(None, None, None, id="nothing landed: no age"),
        pytest.param(built(NOW + timedelta(seconds=5)), None, 0.0, id="a quote of the future is 0 old"),
    ],
)
def test_data_age(state: LayerState | None, first_landed: datetime | None, age: float | None) -> None:
    assert freshness.data_age(state, first_landed, NOW) == age
