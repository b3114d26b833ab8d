"""The web sources against an HTTP server that responds as the services do."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from unittest.mock import AsyncMock, patch

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.assets import coins
from include.ingest.producer import choose_source
from include.ingest.quote import encode, validate
from include.ingest.sources import SourceError, web
from include.ingest.sources.coingecko import CoinGecko
from include.ingest.sources.coinmarketcap import CoinMarketCap
from include.ingest.sources.simulator import Simulator
from include.ingest.sources.web import MAX_RETRY_AFTER_SECONDS, MOST_BYTES
from include.settings import SettingsError, load
from tests.quote_service import AT, CMC, GECKO, PRICES, QuoteService, quote_service


@pytest.fixture
def service() -> Iterator[QuoteService]:
    with quote_service(GECKO) as running:
        yield running


def test_coingecko_quotes_have_the_ids_of_coinmarketcap(service: QuoteService) -> None:
    quotes = CoinGecko(service.url, 60).poll().quotes
    assert [(quote.id, quote.symbol, quote.price, quote.last_updated) for quote in quotes] == [
        (coin.id, coin.symbol, PRICES[coin.symbol], AT) for coin in coins()
    ]
    assert f"ids={'%2C'.join(coin.coingecko_id for coin in coins())}&" in service.requests[0][0]


def test_coinmarketcap_sends_its_key(service: QuoteService) -> None:
    service.body = json.dumps(CMC).encode()
    quotes = CoinMarketCap(service.url, "the-key", 60).poll().quotes
    assert {quote.symbol: quote.price for quote in quotes} == PRICES
    path, headers = service.requests[0]
    assert headers["X-CMC_PRO_API_KEY"] == "the-key"
    assert "the-key" not in path


def test_a_rate_limit_names_seconds_to_wait(service: QuoteService) -> None:
    service.status, service.headers = 429, {"Retry-After": "42"}
    with pytest.raises(SourceError, match="429") as failed:
        CoinGecko(service.url, 60).poll()
    assert failed.value.retry_after_seconds == 42
    assert not failed.value.fatal


def test_a_rate_limit_names_a_date_to_wait_for(service: QuoteService) -> None:
    service.status = 429
    service.headers = {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)}
    with pytest.raises(SourceError) as failed:
        CoinGecko(service.url, 60).poll()
    assert failed.value.retry_after_seconds is not None
    assert 80 < failed.value.retry_after_seconds <= 90


def test_a_blocked_request_without_a_key_is_repeated(service: QuoteService) -> None:
    service.status = 403
    with pytest.raises(SourceError, match="403") as failed:
        CoinGecko(service.url, 60).poll()
    assert not failed.value.fatal
    assert "key" not in str(failed.value)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_wrong_key_is_fatal(service: QuoteService, status: int) -> None:
    service.status = status
    with pytest.raises(SourceError, match="API key") as failed:
        CoinMarketCap(service.url, "wrong", 60).poll()
    assert failed.value.fatal
    assert "wrong" not in str(failed.value)


# --- one coin --------------------------------------------------------------------

GECKO_FIRST, CMC_FIRST = coins()[0].coingecko_id, str(coins()[0].id)
OTHERS = {coin.symbol for coin in coins()[1:]}
BAD_NUMBERS = ["0", "-1", "null", "true", '"64123.12"', "{}", "[]", "NaN", "Infinity", "1e999", "9" * 5000]
BAD_COINS = ["null", "{}", "[]", "0", '"x"', "NaN", "[[1]]", "..."]


def gecko_body(coin: str) -> bytes:
    """CoinGecko's answer with this text instead of the first coin's object; `...` leaves the coin out."""
    others = {name: value for name, value in GECKO.items() if name != GECKO_FIRST}
    first = "" if coin == "..." else f', "{GECKO_FIRST}": {coin}'
    return (json.dumps(others)[:-1] + first + "}").encode()


def cmc_body(coin: str) -> bytes:
    """CoinMarketCap's answer with this text instead of the first coin's object; `...` leaves the coin out."""
    others = {name: value for name, value in CMC["data"].items() if name != CMC_FIRST}
    first = "" if coin == "..." else f', "{CMC_FIRST}": {coin}'
    return ('{"data": ' + json.dumps(others)[:-1] + first + "}}").encode()


GECKO_COINS = [
    *BAD_COINS,
    *(f'{{"usd": {number}, "last_updated_at": 1763928907}}' for number in BAD_NUMBERS),
    *(f'{{"usd": 1.5, "last_updated_at": {time}}}' for time in ("null", "1763928907123", "1e30", "-1e30", "9" * 5000)),
    '{"usd": 1.5, "last_updated_at": "2025-11-23T20:15:07Z"}', '{"usd": 1.5}', '{"last_updated_at": 1763928907}',
]  # fmt: skip
CMC_COINS = [
    *BAD_COINS,
    *(f'{{"quote": {quote}}}' for quote in ("null", "[]", "{}", '{"USD": null}', '{"USD": []}', '{"EUR": {}}')),
    *(
        f'{{"quote": {{"USD": {{"price": {number}, "last_updated": "2025-11-23T20:15:07Z"}}}}}}'
        for number in BAD_NUMBERS
    ),
    *(
        f'{{"quote": {{"USD": {{"price": 1.5, "last_updated": {time}}}}}}}'
        for time in ("null", "1763928907", '"yesterday"', '"2025-11-23T20:15:07"', '"\\ud800"')
    ),
]


@pytest.mark.parametrize("coin", GECKO_COINS)
def test_a_bad_coin_of_coingecko_costs_only_itself(service: QuoteService, coin: str) -> None:
    service.body = gecko_body(coin)
    poll = CoinGecko(service.url, 60).poll()
    assert {quote.symbol: quote.price for quote in poll.quotes} == {symbol: PRICES[symbol] for symbol in OTHERS}
    assert list(poll.unusable) == [coins()[0].symbol]
    assert poll.unusable[coins()[0].symbol]


@pytest.mark.parametrize("coin", CMC_COINS)
def test_a_bad_coin_of_coinmarketcap_costs_only_itself(service: QuoteService, coin: str) -> None:
    service.body = cmc_body(coin)
    poll = CoinMarketCap(service.url, "the-key", 60).poll()
    assert {quote.symbol: quote.price for quote in poll.quotes} == {symbol: PRICES[symbol] for symbol in OTHERS}
    assert list(poll.unusable) == [coins()[0].symbol]


def test_coinmarketcap_skips_an_id_that_it_does_not_know(service: QuoteService) -> None:
    service.body = json.dumps(CMC).encode()
    CoinMarketCap(service.url, "the-key", 60).poll()
    assert "skip_invalid=true" in service.requests[0][0]


def test_without_a_usable_coin_each_is_named(service: QuoteService) -> None:
    service.body = json.dumps(dict.fromkeys(GECKO)).encode()
    with pytest.raises(SourceError) as failed:
        CoinGecko(service.url, 60).poll()
    assert all(coin.symbol in str(failed.value) for coin in coins())


# --- the whole answer ------------------------------------------------------------


def web_sources(url: str) -> list[CoinGecko | CoinMarketCap]:
    return [CoinGecko(url, 60), CoinMarketCap(url, "the-key", 60)]


def assert_a_failed_poll(service: QuoteService, text: str | None = None) -> None:
    for source in web_sources(service.url):
        with pytest.raises(SourceError, match=text) as failed:
            source.poll()
        assert not failed.value.fatal


MILLISECONDS = {name: value | {"last_updated_at": 1763928907123} for name, value in GECKO.items()}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>blocked</html>", b"{}", b"[]", b"null", b"0", b'"text"', b"NaN", b'{"data": []}',
        b'{"data": null}', b'{"bitcoin": {"usd": "1"}}', json.dumps(GECKO).encode()[:-9],
        json.dumps(GECKO).encode() + b"}",
        json.dumps(MILLISECONDS).encode(), json.dumps(GECKO | {"x": 1}).encode().replace(b'"x"', b'"\xff"'),
        b"[" * 100_000, b'{"data":' * 100_000, json.dumps(GECKO).encode("utf-16"), b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_an_unusable_answer_is_a_failed_poll(service: QuoteService, body: bytes) -> None:
    service.body = body
    assert_a_failed_poll(service)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\x00" * 100, b"HTTP/1.1 200 OK", b"HTTP/1.1 999 Odd\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n",
        HEAD + b"Content-Length: 5000\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Content-Encoding: gzip\r\n\r\nnot gzip",
        HEAD + b"Content-Encoding: br\r\n\r\n{}",
        HEAD + b"X: " + b"x" * 200_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::bad/\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:9/elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Slow\r\nRetry-After: \xb2\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Slow\r\nRetry-After: 1 Jan 99999999999999999999 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
    ],
)  # fmt: skip
def test_an_odd_response_is_a_failed_poll(service: QuoteService, raw: bytes) -> None:
    service.raw = raw
    assert_a_failed_poll(service)


def test_a_compressed_answer_is_read(service: QuoteService) -> None:
    service.headers, service.body = {"Content-Encoding": "gzip"}, gzip.compress(service.body)
    assert len(CoinGecko(service.url, 60).poll().quotes) == len(coins())


POLL = """
import sys, tracemalloc
from include.ingest.sources import SourceError
from include.ingest.sources.coingecko import CoinGecko
source = CoinGecko(sys.argv[1], 60)
tracemalloc.start()
try:
    source.poll()
except SourceError as error:
    print(tracemalloc.get_traced_memory()[1], error)
"""
"""It prints the most memory that a failed poll took. In a process of its own no other thread counts."""


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
def test_an_answer_of_too_many_bytes_is_a_failed_poll(service: QuoteService, headers: dict[str, str]) -> None:
    big = b" " * (200 * 2**20)
    service.headers, service.body = headers, gzip.compress(big, 1) if headers else big
    del big
    assert_a_failed_poll(service, "bytes")
    polling = subprocess.run([sys.executable, "-c", POLL, service.url], capture_output=True, text=True, timeout=120)
    peak, _, reason = polling.stdout.partition(" ")
    assert "bytes" in reason, polling.stderr
    assert int(peak) < 20 * MOST_BYTES


@pytest.mark.parametrize("raw", [HEAD, HEAD + b"Content-Length: 100000\r\n\r\n"])
def test_an_answer_that_never_ends_is_a_failed_poll(
    service: QuoteService, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes drip into a header, or into the body."""
    monkeypatch.setattr(web, "TOTAL_SECONDS", 0.5)
    service.raw = raw
    service.drips.set()
    assert_a_failed_poll(service, "no complete answer within")


def test_a_wait_that_a_source_asks_for_has_a_limit(service: QuoteService) -> None:
    service.status, service.headers = 429, {"Retry-After": "9" * 400}
    with pytest.raises(SourceError) as failed:
        CoinGecko(service.url, 60).poll()
    assert failed.value.retry_after_seconds == MAX_RETRY_AFTER_SECONDS


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text()
    | st.sampled_from([AT.isoformat(), 1763928907123]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["usd", "last_updated_at", "x"]), inner)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*GECKO, "other"]), ANY_JSON), st.binary(max_size=3), st.integers(0, 400))
def test_each_answer_is_quotes_that_land_or_a_failed_poll(answer: dict[str, object], noise: bytes, at: int) -> None:
    """Generated answers of both services, with some bytes put into them."""
    gecko = json.dumps(GECKO | answer).encode()
    usd = {"quote": {"USD": {"price": answer.get("bitcoin"), "last_updated": answer.get("ethereum")}}}
    cmc = json.dumps({"data": {CMC_FIRST: usd, str(coins()[1].id): answer.get("ripple")}}).encode()
    for source, body in ((CoinGecko("http://service", 60), gecko), (CoinMarketCap("http://service", "k", 60), cmc)):
        content = body[:at] + noise + body[at:]
        with patch.object(web, "_get", AsyncMock(return_value=(httpx.Response(200), content))):
            try:
                poll = source.poll()
            except SourceError:
                continue
        assert {quote.symbol for quote in poll.quotes}.isdisjoint(poll.unusable)
        assert {quote.symbol for quote in poll.quotes} | poll.unusable.keys() == {coin.symbol for coin in coins()}
        assert all(validate(encode(quote), 10_000).price == quote.price for quote in poll.quotes)


def test_a_dead_service_is_an_error() -> None:
    with pytest.raises(SourceError, match="Connect"):
        CoinGecko("http://127.0.0.1:9", 60).poll()


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
