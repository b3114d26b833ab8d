"""A web service that responds as CoinGecko and CoinMarketCap do, for tests of sources and producer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from include.assets import coins

AT = datetime(2025, 11, 23, 20, 15, 7, tzinfo=UTC)
PRICES = {coin.symbol: 1.5 * coin.simulator_base_price for coin in coins()}
GECKO = {coin.coingecko_id: {"usd": PRICES[coin.symbol], "last_updated_at": int(AT.timestamp())} for coin in coins()}
CMC = {
    "status": {"error_code": 0},
    "data": {
        str(coin.id): {
            "symbol": coin.symbol,
            "quote": {"USD": {"price": PRICES[coin.symbol], "last_updated": AT.isoformat()}},
        }
        for coin in coins()
    },
}


class QuoteService:
    """Responds to each GET with `status`, `headers` and `body`; `requests` has the path and the headers of each GET."""

    def __init__(self, body: object) -> None:
        self.status, self.headers = 200, {"Content-Type": "application/json"}
        self.body = json.dumps(body).encode()
        self.requests: list[tuple[str, dict[str, str]]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.requests.append((self.path, dict(self.headers)))
                self.send_response(service.status)
                for name, value in service.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(service.body)

            def log_message(self, format: str, *args: object) -> None:
                """Write nothing to the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def quote_service(body: object) -> Iterator[QuoteService]:
    """A running service whose body is `body` as JSON."""
    service = QuoteService(body)
    threading.Thread(target=service.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield service
    finally:
        service.server.shutdown()
        service.server.server_close()
