"""/healthz and /metrics on loopback.

`/healthz/live` answers 200 as long as the process is of use (restart it otherwise);
`/healthz` (ready) answers 503 while it does not make progress: no assignment yet, S3
away, a partition stopped. The body says why.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


@dataclass(frozen=True, slots=True)
class Health:
    """State of a process. `problems` are why it is not ready, in words."""

    live: bool
    ready: bool
    problems: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


class HealthServer:
    """Serves until closed; `state` is called at every request, from another thread."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, state: Callable[[], Health]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._send(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif path in ("/healthz", "/healthz/live"):
                    health = state()
                    fine = health.live if path == "/healthz/live" else health.ready
                    body = {"live": health.live, "ready": health.ready, "problems": health.problems, **health.details}
                    self._send(200 if fine else 503, "application/json", json.dumps(body).encode())
                else:
                    self._send(404, "text/plain", b"/healthz, /healthz/live or /metrics\n")

            def _send(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Probes are not worth a log line."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
