"""/healthz and /metrics."""

from __future__ import annotations

import json
import socket
from contextlib import closing

import httpx
import pytest

from include.ingest import health as health_module
from include.ingest.__main__ import main
from include.ingest.consumer import EXIT_REFUSED
from include.ingest.health import HealthServer, ProcessHealth
from include.ingest.metrics import ConsumerMetrics


def test_live_and_ready_differ() -> None:
    health = ProcessHealth(live=True, ready=False, problems=["S3 has failed for 3 s"])
    server = HealthServer("127.0.0.1", 0, ConsumerMetrics().registry, lambda: health)
    try:
        base = f"http://127.0.0.1:{server.port}"
        ready, live = httpx.get(f"{base}/healthz"), httpx.get(f"{base}/healthz/live")
        assert (ready.status_code, live.status_code) == (503, 200)
        assert ready.json()["problems"] == ["S3 has failed for 3 s"]
        assert "lakehouse_consumer_messages_landed_total 0.0" in httpx.get(f"{base}/metrics").text
        assert httpx.get(f"{base}/other").status_code == 404
    finally:
        server.close()


def test_a_client_that_sends_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "REQUEST_SECONDS", 0.1)
    server = HealthServer("127.0.0.1", 0, ConsumerMetrics().registry, lambda: ProcessHealth(live=True, ready=True))
    with closing(server), socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        assert client.recv(1) == b""


@pytest.mark.parametrize(("ready", "status"), [(True, 0), (False, 1)])
def test_the_health_command_shows_the_programs_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ready: bool, status: int
) -> None:
    health = ProcessHealth(live=True, ready=ready, problems=["partition 3: S3 has failed for 3 s"])
    server = HealthServer("127.0.0.1", 0, ConsumerMetrics().registry, lambda: health)
    monkeypatch.setenv("CONSUMER_HTTP_PORT", str(server.port))
    with closing(server):
        assert main(["health"]) == status
    assert json.loads(capsys.readouterr().out)["problems"] == ["partition 3: S3 has failed for 3 s"]


def test_the_health_command_names_a_program_that_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("PRODUCER_HTTP_PORT", str(port))
    assert main(["health", "producer"]) == EXIT_REFUSED
    error = capsys.readouterr().err
    assert f"the producer does not answer at 127.0.0.1:{port}" in error
    assert "PRODUCER_HTTP_PORT" in error
