"""What the sink makes of S3's answers, over HTTP: how obstore reports them is its own affair and has changed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from include.ingest.metrics import ConsumerMetrics
from include.ingest.partition_writer import Created, Lane, Limits, Put, Step
from include.ingest.rejects import batch_rows
from include.ingest.sink import Place, Sink
from include.ingest.store import open_store
from include.landing.cells import Cells
from include.landing.contract import CellSize, Contract
from include.landing.layout import object_key
from include.landing.metadata import ObjectMetadata
from include.settings import AwsSettings, StorageSettings
from tests.unit.ingest.memory_bucket import Bucket

CONTRACT = Contract("cluster", "quotes", "id", ".json", "read_committed", (CellSize(10, {}),))


class Gateway:
    """An S3 that holds nothing: answers each PUT as told, the last answer for ever, and 404 to whatever is read."""

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
                """Nothing to say."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.store: S3Store = open_store(StorageSettings(), AwsSettings(endpoint_url=endpoint))
        self.close: Callable[[], None] = self._server.shutdown


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


@pytest.fixture
def metrics() -> ConsumerMetrics:
    return ConsumerMetrics()


@pytest.fixture
def sink(gateway: Gateway, metrics: ConsumerMetrics) -> Iterator[Sink]:
    place = Place("crypto_data/", "dead_letter/", CONTRACT, "test")
    made = Sink(gateway.store, place, lambda put: batch_rows("quotes", put), metrics, 2)
    yield made
    made.close()


def batch(partition: int = 0) -> Put:
    lane = Lane("id", partition, 1, 0, Cells.of_size(10), Limits(10, 10**6, 60.0, 4), b"")
    lane.feed(0, [0], [b"{}"], 1, 0.0)
    lane.seal("shutdown")
    (put,) = lane.puts()
    return put


def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 10
    while not condition():
        assert monotonic() < deadline
        sleep(0.01)


@pytest.mark.parametrize("step", Step)
def test_a_conflict_whose_winner_is_not_there_is_tried_again_and_no_failure(
    gateway: Gateway, sink: Sink, metrics: ConsumerMetrics, step: Step
) -> None:
    gateway.puts = deque([409, 409, 200])
    data = batch()
    sink.submit(Put(data.partition, data.assignment, step, data.batch))
    assert sink.answers.get(timeout=10).answer == Created()
    assert gateway.requests == ["PUT", "HEAD", "PUT", "HEAD", "PUT"]
    assert (metrics.total.errors, sink.last_error) == (0, "")


@pytest.mark.parametrize(("topic_id", "is_ours"), [("id", True), ("before", False)])
def test_dead_letters_that_are_there_are_taken_for_written_only_if_of_this_topic(
    metrics: ConsumerMetrics, topic_id: str, is_ours: bool
) -> None:
    store: Any = Bucket()
    place = Place("crypto_data/", "dead_letter/", CONTRACT, "test")
    there = ObjectMetadata("quotes", topic_id, 0, 0, 0, 0, 1, "host:7").to_attributes()
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 0, 0), b"[\n]", attributes=there)
    sink = Sink(store, place, lambda _: [], metrics, 1)
    data = batch()
    sink.submit(Put(0, data.assignment, Step.DEAD_LETTERS, data.batch))
    done = sink.answers.get(timeout=10)
    sink.close()
    if is_ours:
        assert (done.answer, done.error) == (Created(), None)
    else:
        assert "out of S3_DEAD_LETTER_PREFIX" in str(done.error)


def test_a_put_that_is_answered_not_found_is_a_failure(gateway: Gateway, sink: Sink, metrics: ConsumerMetrics) -> None:
    gateway.puts = deque([404, 404, 200])  # the bucket is gone
    sink.submit(batch())
    until(lambda: sink.failing_since is not None)
    assert sink.answers.get(timeout=10).answer == Created()
    assert metrics.total.errors == 2
    until(lambda: sink.failing_since is None)


def test_a_put_that_is_given_up_fails_no_more(gateway: Gateway, sink: Sink) -> None:
    gateway.puts = deque([503])
    first, second = batch(0), batch(1)
    sink.submit(first)
    until(lambda: sink.failing_since is not None)
    sink.submit(second)
    until(lambda: len(sink._failing) == 2)
    sink.abandon(0, first.assignment)
    assert sink.answers.get(timeout=10).answer is None
    assert sink.failing_since is not None
    sink.abandon(1, second.assignment)
    assert sink.answers.get(timeout=10).answer is None
    until(lambda: sink.failing_since is None)
