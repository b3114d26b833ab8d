"""A web service that responds as CoinGecko and CoinMarketCap do, for tests of sources and producer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase

from include.assets import coins

AT = datetime(2025, 11, 23, 20, 15, 7, tzinfo=UTC)
PRICES = {coin.symbol: 1.5 * coin.simulator_base_price for coin in coins()}
GECKO = {coin.coingecko_id: {"usd": PRICES[coin.symbol], "last_updated_at": int(AT.timestamp())} for coin in coins()}
CMC: dict[str, dict[str, object]] = {
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
    """Responds to each GET with `status`, `headers` and `body`; `requests` has the path and the headers of each GET.

    `answers` has the time (monotonic, s) at which each GET arrived, and the status of its answer.

    With `raw` it sends these bytes instead of a response, then blanks one by one while `drips` is set.
    """

    def __init__(self, body: object) -> None:
        self.status, self.headers = 200, {"Content-Type": "application/json"}
        self.body = json.dumps(body).encode()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answers: list[tuple[float, int]] = []
        self.raw: bytes | None = None
        self.drips = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                arrived = time.monotonic()
                service.requests.append((self.path, dict(self.headers)))
                if service.raw is not None:
                    self.close_connection = True
                    service.send_raw(self.wfile)
                    return
                status, headers = service.status, service.headers
                service.answers.append((arrived, status))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(service.body)

            def log_message(self, format: str, *args: object) -> None:
                """Write nothing to the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def send_raw(self, client: BufferedIOBase) -> None:
        """Send `raw`, then blanks one by one while `drips` is set."""
        with suppress(OSError):  # the client has given up
            client.write(self.raw or b"")
            while self.drips.is_set():
                client.write(b" ")
                time.sleep(0.02)


@contextmanager
def quote_service(body: object) -> Iterator[QuoteService]:
    """A running service whose body is `body` as JSON."""
    service = QuoteService(body)
    threading.Thread(target=service.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield service
    finally:
        service.drips.clear()
        service.server.shutdown()
        service.server.server_close()
