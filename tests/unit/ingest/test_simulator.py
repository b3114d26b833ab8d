"""The simulated market: same seed and time, same price; realistic; history joins the present."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest

from include.ingest.quote import InvalidQuoteError, encode, validate
from include.ingest.sources.simulator import ASSETS, SPAN_SECONDS, YEAR_SECONDS, Misbehaviour, Simulator, price
from include.settings import SimulatorSettings

NOW = datetime(2026, 11, 23, 20, 15, 7, tzinfo=UTC)


def test_a_price_is_a_function_of_seed_symbol_and_time() -> None:
    assert price(1, "BTC", NOW) == price(1, "BTC", NOW)
    assert len({price(seed, "BTC", NOW) for seed in range(5)}) == 5


def test_prices_are_pinned_to_their_base_and_the_path_is_continuous() -> None:
    pin = datetime.fromtimestamp(50 * SPAN_SECONDS, UTC)
    for symbol, asset in ASSETS.items():
        assert price(1, symbol, pin) == pytest.approx(asset.base)
        assert price(1, symbol, pin - timedelta(seconds=1)) == pytest.approx(asset.base, rel=1e-2)


def test_the_volatility_is_what_it_says() -> None:
    hours = [NOW + timedelta(hours=n) for n in range(1500)]
    for symbol, asset in ASSETS.items():
        prices = [math.log(price(3, symbol, at)) for at in hours]
        moves = [after - before for before, after in pairwise(prices)]
        a_year = math.sqrt(sum(move**2 for move in moves) / len(moves) * YEAR_SECONDS / 3600)
        assert a_year == pytest.approx(asset.volatility, rel=0.15)


def test_history_ends_where_the_present_begins_and_scales_to_a_live_price() -> None:
    settings = SimulatorSettings(history_hours=1, history_interval_seconds=60)
    live = [quote for quote in Simulator(settings).quotes_at(NOW) if quote.symbol == "BTC"]
    doubled = [msgspec.structs.replace(quote, price=quote.price * 2) for quote in live]
    scaled = Simulator(settings).scaled_to(doubled)
    assert scaled.quotes_at(NOW)[0].price == pytest.approx(doubled[0].price, rel=1e-6)
    history = list(Simulator(settings).history(NOW))
    assert len(history) == 3 * 60
    assert history[0].last_updated == NOW - timedelta(hours=1)
    assert history[-3].price == pytest.approx(live[0].price, rel=0.01)


def test_misbehaviour_is_off_by_default_and_total_at_one() -> None:
    quote = Simulator(SimulatorSettings()).quotes_at(NOW)[0]
    assert [sent.value for sent in Misbehaviour(SimulatorSettings()).messages(quote)] == [encode(quote)]
    worst = Misbehaviour(SimulatorSettings(bad_share=1, duplicate_share=1, late_share=1))
    for _ in range(30):
        first, second = worst.messages(quote)
        assert first.not_before is not None
        assert second.not_before is None
        with pytest.raises(InvalidQuoteError):
            validate(first.value, 10_000)


def test_a_frozen_symbol_does_not_move() -> None:
    simulator = Simulator(SimulatorSettings(frozen_symbol="ETH"))
    assert len({simulator.quotes_at(NOW + timedelta(hours=n))[1].price for n in range(5)}) == 1
    assert len({simulator.quotes_at(NOW + timedelta(hours=n))[0].price for n in range(5)}) == 5
