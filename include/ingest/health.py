"""/healthz and /metrics on loopback.

`/healthz/live` answers 503 when the process hangs or cannot go on: restart it then. `/healthz` (ready) answers 503
while the process knows a reason why it makes no progress: it has no assignment, Kafka or S3 does not answer, or a
partition is stopped. The body names the reasons.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

REQUEST_SECONDS = 10.0
"""A client that sends nothing for this time is disconnected; otherwise each would hold a thread without end."""
GRACE_SECONDS = 10.0
"""How long a wait may last before it is a problem. Rebalances and moving leaders cause short waits."""


class Pending:
    """A wait for something. One thread begins and ends it; any thread may read its problems."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._state: tuple[float, float, str] | None = None

    def begin(self, why: str, grace: float = GRACE_SECONDS) -> None:
        """The wait begins, unless it has begun already. It is a problem after `grace` seconds."""
        self._state = (self._clock() + grace if self._state is None else self._state[0], grace, why)

    def end(self) -> None:
        """The wait is over."""
        self._state = None

    def problems(self) -> list[str]:
        """Reason and length of the wait, if it is too long."""
        state = self._state
        if state is None:
            return []
        due, grace, why = state
        late = self._clock() - due
        return [f"{why} (for {late + grace:.0f} s)"] if late >= 0 else []


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """State of a process. `problems` are the reasons why it is not ready, in words."""

    live: bool
    ready: bool
    problems: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


class HealthServer:
    """Serves until it is closed. `state` is called at each request, from another thread."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, state: Callable[[], ProcessHealth]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_SECONDS

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._send(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif path in ("/healthz", "/healthz/live"):
                    health = state()
                    passes = health.live if path == "/healthz/live" else health.ready
                    body = {"live": health.live, "ready": health.ready, "problems": health.problems, **health.details}
                    self._send(200 if passes else 503, "application/json", json.dumps(body).encode())
                else:
                    self._send(404, "text/plain", b"/healthz, /healthz/live or /metrics\n")

            def _send(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing: a probe needs no log line."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
