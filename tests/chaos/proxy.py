"""A proxy in front of S3 that fails as S3 and networks do. A seed decides which request fails.

A request may meet one of these faults:

- 503: the answer comes at once.
- 409: a conditional PUT is not carried out. S3 answers so while another write of the key may still fail.
- hang: the client gives up, and the request never arrives.
- lost answer: the request is carried out, then the connection is closed.
- slow: the answer takes longer.
- late: the client gives up first, and the request arrives after that.

During an outage new connections are refused, and open ones are closed at their next request.
"""

from __future__ import annotations

import http.client
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep
from typing import Literal, get_args

Fault = Literal["503", "409", "hang", "lost_answer", "slow", "late", "outage"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
HANG_SECONDS = 4.0
LATE_SECONDS = 12.0
SLOW_SECONDS = 0.8


@dataclass(frozen=True, slots=True)
class Weather:
    """The share of requests that meet each fault. `outage` refuses all requests."""

    s503: float = 0.0
    s409: float = 0.0
    hang: float = 0.0
    lost_answer: float = 0.0
    slow: float = 0.0
    late: float = 0.0
    outage: bool = False
    slow_seconds: float = SLOW_SECONDS
    """How much longer a slow answer takes."""
    unconditional: bool = False
    """Forward requests without If-None-Match, like an S3 that ignores it."""
    methods: frozenset[str] = frozenset()
    """Only requests with these methods meet a fault. The empty set means all methods."""
    path: str = ""
    """Only requests whose path or query contains this text meet a fault."""


CALM = Weather()
OUTAGE = Weather(outage=True)
STORM = Weather(s503=0.12, s409=0.04, hang=0.04, lost_answer=0.15, slow=0.10, late=0.05)


class FaultProxy:
    """Forwards requests from a loopback port to `upstream` (host, port). `weather` may change at any time."""

    def __init__(self, upstream: tuple[str, int], seed: int, port: int = 0) -> None:
        self._weather = CALM
        self.requests = 0
        self.counts: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        """Requests that met a fault and are over, by the fault."""
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy.handle(self, upstream)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: object) -> None:
                """The proxy counts and does not log."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Ignore broken connections: chaos kills the clients."""

        self._new_server: Callable[[], ThreadingHTTPServer] = lambda: Server(
            ("127.0.0.1", port), Handler, bind_and_activate=False
        )
        self._server: ThreadingHTTPServer = self._new_server()
        self._server.server_bind()
        self._address = self._server.server_address
        self.endpoint = f"http://127.0.0.1:{self._address[1]}"
        self._listen()

    @property
    def weather(self) -> Weather:
        """The current shares of requests that meet a fault."""
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        before, self._weather = self._weather, weather
        if weather.outage and not before.outage:
            self.counts["outage"] += 1
            self._server.shutdown()
            self._server.server_close()
            self._server = self._new_server()
            self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._server.socket.bind(self._address)  # a bound socket that does not listen refuses connections
        elif before.outage and not weather.outage:
            self._listen()

    def _listen(self) -> None:
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        if not self._weather.outage:
            self._server.shutdown()
        self._server.server_close()

    def _draw(self, method: str, path: str) -> Fault | None:
        weather = self.weather
        if (weather.methods and method not in weather.methods) or weather.path not in path:
            return None
        if weather.outage:
            return "outage"
        with self._lock:
            draw = self._random.random()
        shares: dict[Fault, float] = {
            "503": weather.s503, "409": weather.s409, "hang": weather.hang, "lost_answer": weather.lost_answer,
            "slow": weather.slow, "late": weather.late,
        }  # fmt: skip
        for fault, share in shares.items():
            if draw < share:
                return fault
            draw -= share
        return None

    def handle(self, client: BaseHTTPRequestHandler, upstream: tuple[str, int]) -> None:
        """Forward one request, or let it meet a fault."""
        fault = self._draw(client.command, client.path)
        if fault == "409" and "If-None-Match" not in client.headers:
            fault = None
        self.requests += 1
        if fault is not None:
            self.counts[fault] += 1
        self._carry_out(client, upstream, fault)
        if fault is not None:
            self.ended[fault] += 1

    def _carry_out(self, client: BaseHTTPRequestHandler, upstream: tuple[str, int], fault: Fault | None) -> None:
        body = client.rfile.read(int(client.headers.get("Content-Length") or 0))
        if fault == "outage":
            client.close_connection = True
            return
        if fault == "503":
            self._answer(client, 503, {"Content-Type": "application/xml"}, b"<Error><Code>SlowDown</Code></Error>")
            return
        if fault == "409":
            conflict = b"<Error><Code>ConditionalRequestConflict</Code></Error>"
            self._answer(client, 409, {"Content-Type": "application/xml"}, conflict)
            return
        if fault == "hang":
            sleep(HANG_SECONDS)
            client.close_connection = True
            return
        if fault in ("slow", "late"):
            sleep(self.weather.slow_seconds if fault == "slow" else LATE_SECONDS)
        try:
            removed = {"connection", "expect"} | ({"if-none-match"} if self.weather.unconditional else set())
            status, headers, answer = self._forward(client, upstream, body, removed)
        except OSError:
            client.close_connection = True
            return
        if fault == "lost_answer":
            client.close_connection = True
            return
        self._answer(client, status, headers, answer)

    @staticmethod
    def _forward(
        client: BaseHTTPRequestHandler, upstream: tuple[str, int], body: bytes, removed: set[str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*upstream, timeout=30)
        try:
            connection.putrequest(client.command, client.path, skip_host=True, skip_accept_encoding=True)
            for name, value in client.headers.items():
                if name.lower() not in removed:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            answer = response.read()
            return response.status, dict(response.getheaders()), answer
        finally:
            connection.close()

    @staticmethod
    def _answer(client: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        try:
            client.send_response_only(status)
            length = headers.get("content-length", headers.get("Content-Length"))
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    client.send_header(name, value)
            client.send_header("Content-Length", str(length) if client.command == "HEAD" and length else str(len(body)))
            client.end_headers()
            if client.command != "HEAD":
                client.wfile.write(body)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            client.close_connection = True
