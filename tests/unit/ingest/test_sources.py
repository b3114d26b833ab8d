"""The web sources against an HTTP server that responds as the services do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from include.assets import coins
from include.ingest.producer import choose_source
from include.ingest.sources import SourceError
from include.ingest.sources.coingecko import CoinGecko
from include.ingest.sources.coinmarketcap import CoinMarketCap
from include.ingest.sources.simulator import Simulator
from include.settings import SettingsError, load
from tests.quote_service import AT, CMC, GECKO, PRICES, QuoteService, quote_service


@pytest.fixture
def service() -> Iterator[QuoteService]:
    with quote_service(GECKO) as running:
        yield running


def test_coingecko_quotes_have_the_ids_of_coinmarketcap(service: QuoteService) -> None:
    quotes = CoinGecko(service.url, 60).quotes()
    assert [(quote.id, quote.symbol, quote.price, quote.last_updated) for quote in quotes] == [
        (coin.id, coin.symbol, PRICES[coin.symbol], AT) for coin in coins()
    ]
    assert f"ids={'%2C'.join(coin.coingecko_id for coin in coins())}&" in service.requests[0][0]


def test_coinmarketcap_sends_its_key(service: QuoteService) -> None:
    service.body = json.dumps(CMC).encode()
    quotes = CoinMarketCap(service.url, "the-key", 60).quotes()
    assert {quote.symbol: quote.price for quote in quotes} == PRICES
    path, headers = service.requests[0]
    assert headers["X-CMC_PRO_API_KEY"] == "the-key"
    assert "the-key" not in path


def test_a_rate_limit_names_seconds_to_wait(service: QuoteService) -> None:
    service.status, service.headers = 429, {"Retry-After": "42"}
    with pytest.raises(SourceError, match="429") as failed:
        CoinGecko(service.url, 60).quotes()
    assert failed.value.retry_after_seconds == 42
    assert not failed.value.fatal


def test_a_rate_limit_names_a_date_to_wait_for(service: QuoteService) -> None:
    service.status = 429
    service.headers = {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)}
    with pytest.raises(SourceError) as failed:
        CoinGecko(service.url, 60).quotes()
    assert failed.value.retry_after_seconds is not None
    assert 80 < failed.value.retry_after_seconds <= 90


def test_a_blocked_request_without_a_key_is_repeated(service: QuoteService) -> None:
    service.status = 403
    with pytest.raises(SourceError, match="403") as failed:
        CoinGecko(service.url, 60).quotes()
    assert not failed.value.fatal
    assert "key" not in str(failed.value)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_wrong_key_is_fatal(service: QuoteService, status: int) -> None:
    service.status = status
    with pytest.raises(SourceError, match="API key") as failed:
        CoinMarketCap(service.url, "wrong", 60).quotes()
    assert failed.value.fatal
    assert "wrong" not in str(failed.value)


NO_PRICE = json.dumps(GECKO | {"bitcoin": {"usd": 0, "last_updated_at": 1763928907}}).encode()


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"bitcoin": {"usd": "1"}}', NO_PRICE])
def test_an_unusable_response_is_an_error(service: QuoteService, body: bytes) -> None:
    service.body = body
    with pytest.raises(SourceError):
        CoinGecko(service.url, 60).quotes()


def test_a_dead_service_is_an_error() -> None:
    with pytest.raises(SourceError, match="Connect"):
        CoinGecko("http://127.0.0.1:9", 60).quotes()


def test_auto_is_coingecko_if_it_responds_else_the_simulator(
    service: QuoteService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCER_COINGECKO_URL", service.url)
    source, first = choose_source(load())
    assert isinstance(source, CoinGecko)
    assert first is not None
    service.status = 503
    source, first = choose_source(load())
    assert isinstance(source, Simulator)
    assert first is None


def test_coinmarketcap_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODUCER_SOURCE", "coinmarketcap")
    with pytest.raises(SettingsError, match="PRODUCER_COINMARKETCAP_API_KEY"):
        choose_source(load())
