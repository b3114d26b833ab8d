"""The sink and S3's answers, over HTTP: another version of obstore may report these answers in another way."""

from __future__ import annotations

import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep
from typing import Any
from unittest.mock import patch

import obstore
import pytest
from obstore.store import S3Store
from structlog.testing import capture_logs

from include.ingest import patience
from include.ingest import sink as module
from include.ingest.metrics import ConsumerMetrics
from include.ingest.partition_writer import Created, Limits, PartitionWriter, Put, Step
from include.ingest.sink import Destination, Sink
from include.ingest.store import open_store
from include.landing.body import PLAIN
from include.landing.cells import Cells
from include.landing.contract import CellSize, Contract
from include.landing.layout import object_key
from include.landing.metadata import ObjectMetadata
from include.settings import AwsSettings, StorageSettings
from tests.unit.ingest.memory_bucket import Bucket
from tests.unit.ingest.slow_server import OK, read_request, served

CONTRACT = Contract("cluster", "quotes", "id", ".json", "read_committed", (CellSize(10, {}),))
DESTINATION = Destination("crypto_data/", "dead_letter/", CONTRACT, PLAIN, "test")


class Gateway:
    """An empty S3. It answers each PUT with the next of `puts`, repeats the last one, and answers 404 to all reads."""

    def __init__(self) -> None:
        self.puts: deque[int] = deque([200])
        self.requests: list[str] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                gateway.requests.append(self.command)
                status = 404
                if self.command == "PUT":
                    status = gateway.puts.popleft() if len(gateway.puts) > 1 else gateway.puts[0]
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.send_header("ETag", '"e"')
                self.end_headers()

            def do_HEAD(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def do_PUT(self) -> None:
                self._answer()

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.store: S3Store = open_store(StorageSettings(), AwsSettings(endpoint_url=endpoint))
        self.close: Callable[[], None] = self._server.shutdown


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


@pytest.fixture
def metrics() -> ConsumerMetrics:
    return ConsumerMetrics()


@pytest.fixture
def sink(gateway: Gateway, metrics: ConsumerMetrics) -> Iterator[Sink]:
    sink = Sink(gateway.store, DESTINATION, metrics, 2)
    yield sink
    sink.close()


def batch(partition: int = 0) -> Put:
    writer = PartitionWriter("id", partition, 1, 0, Cells.of_size(10), Limits(10, 10**6, 60.0, 4), PLAIN, b"")
    writer.feed(0, [0], [b"{}"], 1, 0.0)
    writer.seal("shutdown")
    (put,) = writer.puts()
    return put


def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 60
    while not condition():
        assert monotonic() < deadline
        sleep(0.01)


@pytest.mark.parametrize("step", Step)
def test_a_conflict_without_an_existing_object_is_retried_and_not_counted(
    gateway: Gateway, sink: Sink, metrics: ConsumerMetrics, step: Step
) -> None:
    gateway.puts = deque([409, 409, 200])
    data = batch()
    sink.submit(Put(data.partition, data.assignment, step, data.batch))
    assert sink.answers.get(timeout=60).answer == Created()
    assert gateway.requests == ["PUT", "HEAD", "PUT", "HEAD", "PUT"]
    assert (metrics.total.errors, sink.last_error) == (0, "")


def test_nothing_but_conflicts_is_a_failure_after_some_seconds(
    gateway: Gateway, sink: Sink, metrics: ConsumerMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFLICT_SECONDS", 0.3)
    gateway.puts = deque([409])
    with capture_logs() as lines:
        sink.submit(batch())
        until(lambda: sink.failing_since is not None)
        gateway.puts = deque([200])
        assert sink.answers.get(timeout=60).answer == Created()
    assert "another write of this object is in progress (409 or 412)" in sink.last_error
    assert next(line["event"] for line in lines) == "PUT failed, will be repeated"
    assert metrics.total.errors > 0
    conflicts = metrics.registry.get_sample_value("lakehouse_consumer_put_conflicts_total") or 0
    assert conflicts > metrics.total.errors


@pytest.mark.parametrize(("topic_id", "is_ours"), [("id", True), ("before", False)])
def test_existing_dead_letters_count_as_written_only_if_of_this_topic(
    metrics: ConsumerMetrics, topic_id: str, is_ours: bool
) -> None:
    store: Any = Bucket()
    attributes = ObjectMetadata("quotes", topic_id, 0, 0, 0, 0, 1, "host:7").to_attributes()
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 0, 0), b"[\n]", attributes=attributes)
    sink = Sink(store, DESTINATION, metrics, 1)
    data = batch()
    sink.submit(Put(0, data.assignment, Step.DEAD_LETTERS, data.batch))
    outcome = sink.answers.get(timeout=60)
    sink.close()
    if is_ours:
        assert (outcome.answer, outcome.error) == (Created(), None)
    else:
        assert "out of S3_DEAD_LETTER_PREFIX" in str(outcome.error)


def test_a_put_that_is_answered_not_found_is_a_failure(gateway: Gateway, sink: Sink, metrics: ConsumerMetrics) -> None:
    gateway.puts = deque([404, 404, 200])  # the bucket is gone
    sink.submit(batch())
    until(lambda: sink.failing_since is not None)
    assert sink.answers.get(timeout=60).answer == Created()
    assert metrics.total.errors == 2
    until(lambda: sink.failing_since is None)


def test_an_abandoned_put_is_not_failing_any_more(gateway: Gateway, sink: Sink) -> None:
    gateway.puts = deque([503])
    first, second = batch(0), batch(1)
    sink.submit(first)
    until(lambda: sink.failing_since is not None)
    sink.submit(second)
    until(lambda: len(sink._failing) == 2)
    sink.abandon(0, first.assignment)
    assert sink.answers.get(timeout=60).answer is None
    assert sink.failing_since is not None
    sink.abandon(1, second.assignment)
    assert sink.answers.get(timeout=60).answer is None
    until(lambda: sink.failing_since is None)


def test_a_landed_batch_is_not_kept_by_the_idle_threads(sink: Sink) -> None:
    put = batch()
    references = sys.getrefcount(put)
    sink.submit(put)
    assert sink.answers.get(timeout=60).answer == Created()
    until(lambda: sys.getrefcount(put) == references)


def test_a_failure_names_s3s_code_and_not_the_key(gateway: Gateway, sink: Sink) -> None:
    gateway.puts = deque([503])
    sink.submit(batch())
    until(lambda: bool(sink.last_error))
    assert sink.last_error.startswith("HTTP 503: Service Unavailable.")


def test_a_slow_upload_lands_and_a_time_out_names_its_setting(metrics: ConsumerMetrics) -> None:
    """The first attempt meets a server that does not answer, the others a slow one: 1 MB takes longer than 0.2 s."""
    attempts: list[int] = []

    def serve(connection: socket.socket) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            threading.Event().wait()
        read_request(connection, pause=0.01)
        connection.sendall(OK)

    put = batch()
    put.batch.parts[0].content = b"x" * 2**20
    with served(serve) as endpoint:
        store = open_store(StorageSettings(), AwsSettings(endpoint_url=endpoint), timeout_seconds=0.2)
        sink = Sink(store, DESTINATION, metrics, 1, put_seconds=0.2)
        with patch.object(patience, "UPLOAD_BYTES_A_SECOND", 2**22):
            sink.submit(put)
            assert sink.answers.get(timeout=120).answer == Created()
        sink.close()
    assert "CONSUMER_PUT_TIMEOUT_SECONDS=0.2" in sink.last_error
    assert sink.last_error.startswith("timeout.")
