"""The simulated market: same seed and time, same price; realistic; history joins the present."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest

from include.assets import coins
from include.ingest.quote import InvalidQuoteError, encode, validate
from include.ingest.sources.simulator import SPAN_SECONDS, YEAR_SECONDS, FaultInjection, Simulator, price
from include.settings import SimulatorSettings

NOW = datetime(2026, 11, 23, 20, 15, 7, tzinfo=UTC)
BITCOIN = coins()[0]


def test_a_price_is_a_function_of_seed_symbol_and_time() -> None:
    assert price(1, BITCOIN, NOW) == price(1, BITCOIN, NOW)
    assert len({price(seed, BITCOIN, NOW) for seed in range(5)}) == 5


def test_a_span_begins_at_the_base_price_without_a_jump() -> None:
    pin = datetime.fromtimestamp(50 * SPAN_SECONDS, UTC)
    for coin in coins():
        assert price(1, coin, pin) == pytest.approx(coin.simulator_base_price)
        assert price(1, coin, pin - timedelta(seconds=1)) == pytest.approx(coin.simulator_base_price, rel=1e-2)


def test_the_price_of_a_cheap_coin_keeps_six_digits() -> None:
    cheap = msgspec.structs.replace(BITCOIN, simulator_base_price=0.0000123)
    prices = [price(1, cheap, NOW + timedelta(seconds=n)) for n in range(20)]
    assert len(set(prices)) > 15
    assert prices == [float(f"{value:.6g}") for value in prices]


def test_the_volatility_is_that_of_the_seed() -> None:
    hours = [NOW + timedelta(hours=n) for n in range(1500)]
    for coin in coins():
        prices = [math.log(price(3, coin, at)) for at in hours]
        moves = [after - before for before, after in pairwise(prices)]
        volatility = math.sqrt(sum(move**2 for move in moves) / len(moves) * YEAR_SECONDS / 3600)
        assert volatility == pytest.approx(coin.simulator_volatility, rel=0.15)


def test_history_joins_the_present_and_scales_to_a_live_price() -> None:
    settings = SimulatorSettings(history_hours=1, history_interval_seconds=60)
    live = Simulator(settings).quotes_at(NOW)[:1]
    doubled = [msgspec.structs.replace(quote, price=quote.price * 2) for quote in live]
    scaled = Simulator(settings).scaled_to(doubled)
    assert scaled.quotes_at(NOW)[0].price == pytest.approx(doubled[0].price, rel=1e-6)
    history = list(Simulator(settings).history(NOW))
    assert len(history) == 60 * len(coins())
    assert history[0].last_updated == NOW - timedelta(hours=1)
    assert history[-len(coins())].price == pytest.approx(live[0].price, rel=0.01)


def test_faults_are_off_by_default_and_certain_at_share_one() -> None:
    quote = Simulator(SimulatorSettings()).quotes_at(NOW)[0]
    assert [message.value for message in FaultInjection(SimulatorSettings()).messages(quote)] == [encode(quote)]
    worst = FaultInjection(SimulatorSettings(bad_share=1, duplicate_share=1, late_share=1))
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
