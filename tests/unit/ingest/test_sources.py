"""The web sources against a real HTTP server that answers like the services do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from include.ingest.producer import choose_source
from include.ingest.sources import SourceError
from include.ingest.sources.coingecko import CoinGecko
from include.ingest.sources.coinmarketcap import CoinMarketCap
from include.ingest.sources.simulator import Simulator
from include.settings import SettingsError, load

GECKO = {
    "bitcoin": {"usd": 64123.12, "last_updated_at": 1763928907},
    "ethereum": {"usd": 3120, "last_updated_at": 1763928908},
    "ripple": {"usd": 0.52, "last_updated_at": 1763928909},
}
AT = "2025-11-23T20:15:07.000Z"
CMC = {
    "status": {"error_code": 0},
    "data": {str(n): {"symbol": s, "quote": {"USD": {"price": p, "last_updated": AT}}}
             for n, s, p in ((1, "BTC", 64123.12), (1027, "ETH", 3120), (52, "XRP", 0.52))},
}  # fmt: skip


class Service:
    """Answers `body` with `status`; remembers what was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"{}", {"Content-Type": "application/json"}
        self.asked: list[tuple[str, dict[str, str]]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append((self.path, dict(self.headers)))
                self.send_response(service.status)
                for name, value in service.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(service.body)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_coingecko_is_mapped_to_coinmarketcaps_ids(service: Service) -> None:
    service.body = json.dumps(GECKO).encode()
    quotes = CoinGecko(service.url, 60).quotes()
    assert [(quote.id, quote.symbol, quote.price) for quote in quotes] == [
        (1, "BTC", 64123.12), (1027, "ETH", 3120.0), (52, "XRP", 0.52),
    ]  # fmt: skip
    assert quotes[0].last_updated == datetime(2025, 11, 23, 20, 15, 7, tzinfo=UTC)
    assert "ids=bitcoin%2Cethereum%2Cripple" in service.asked[0][0]


def test_coinmarketcap_sends_its_key(service: Service) -> None:
    service.body = json.dumps(CMC).encode()
    quotes = CoinMarketCap(service.url, "the-key", 60).quotes()
    assert [quote.symbol for quote in quotes] == ["BTC", "ETH", "XRP"]
    path, headers = service.asked[0]
    assert headers["X-CMC_PRO_API_KEY"] == "the-key"
    assert "the-key" not in path


def test_a_rate_limit_says_when_to_come_back(service: Service) -> None:
    service.status, service.headers = 429, {"Retry-After": "42"}
    with pytest.raises(SourceError, match="429") as failed:
        CoinGecko(service.url, 60).quotes()
    assert failed.value.retry_after_seconds == 42
    assert not failed.value.fatal


def test_a_rate_limit_may_name_a_date(service: Service) -> None:
    service.status = 429
    service.headers = {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)}
    with pytest.raises(SourceError) as failed:
        CoinGecko(service.url, 60).quotes()
    assert failed.value.retry_after_seconds is not None
    assert 80 < failed.value.retry_after_seconds <= 90


def test_a_service_without_a_key_that_blocks_us_is_asked_again(service: Service) -> None:
    service.status = 403
    with pytest.raises(SourceError, match="403") as failed:
        CoinGecko(service.url, 60).quotes()
    assert not failed.value.fatal
    assert "key" not in str(failed.value)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_wrong_key_is_fatal(service: Service, status: int) -> None:
    service.status = status
    with pytest.raises(SourceError, match="API key") as failed:
        CoinMarketCap(service.url, "wrong", 60).quotes()
    assert failed.value.fatal
    assert "wrong" not in str(failed.value)


NO_PRICE = json.dumps(GECKO | {"bitcoin": {"usd": 0, "last_updated_at": 1763928907}}).encode()


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"bitcoin": {"usd": "1"}}', NO_PRICE])
def test_an_unusable_answer_is_an_error(service: Service, body: bytes) -> None:
    service.body = body
    with pytest.raises(SourceError):
        CoinGecko(service.url, 60).quotes()


def test_a_dead_service_is_an_error() -> None:
    with pytest.raises(SourceError, match="Connect"):
        CoinGecko("http://127.0.0.1:9", 60).quotes()


def test_auto_takes_coingecko_if_it_answers_else_the_simulator(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCER_COINGECKO_URL", service.url)
    service.body = json.dumps(GECKO).encode()
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
