"""The producer's loop while the source or Kafka make it wait, and the messages that it sends.

Kafka is librdkafka's built-in broker. An outage is a bootstrap address at which nothing listens yet.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any
from unittest.mock import MagicMock

import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import Producer as KafkaProducer

from include.assets import coins
from include.ingest import producer as module
from include.ingest.metrics import ProducerMetrics
from include.ingest.producer import EXIT_CLEAN, EXIT_UNDELIVERED, Producer
from include.ingest.sources import web
from include.ingest.sources.simulator import Simulator
from include.settings import load
from tests.quote_service import CMC, GECKO, QuoteService, quote_service
from tests.servers import free_port

DENIED = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
DELIVERED: Any = None
REPORT = MagicMock(spec=Message)


@pytest.fixture
def empty_broker() -> Iterator[str]:
    """Address of a broker for this test alone. It has no topic until a client other than ours asks for one."""
    broker = KafkaProducer({"bootstrap.servers": "unused:1", "test.mock.num.brokers": 1, "log_level": 0})
    (address,) = broker.list_topics(timeout=10).brokers.values()
    yield f"{address.host}:{address.port}"
    del broker


@pytest.fixture
def bootstrap(empty_broker: str) -> str:
    """Address of a broker that has the topic."""
    create_topic(empty_broker)
    return empty_broker


def create_topic(bootstrap: str) -> None:
    """Ask the built-in broker for the topic, which makes it."""
    KafkaProducer({"bootstrap.servers": bootstrap}).list_topics(load().kafka.topic, timeout=10)


@pytest.fixture
def service() -> Iterator[QuoteService]:
    with quote_service(GECKO) as running:
        yield running


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, service: QuoteService) -> None:
    # Nothing listens at this port, unless a test starts a broker.
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("PRODUCER_SOURCE", "coingecko")
    monkeypatch.setenv("PRODUCER_COINGECKO_URL", service.url)
    monkeypatch.setenv("PRODUCER_POLL_SECONDS", "0.05")
    monkeypatch.setattr(module, "FLUSH_SECONDS", 2.0)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)


class Clock:
    """The producer's clock, which a test can set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


class Run:
    """A producer in a thread."""

    def __init__(self) -> None:
        self.producer = Producer(load(), ProducerMetrics())
        self.status: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.status = self.producer.run()

    def count(self, name: str) -> int:
        return int(self.producer.health().details[name])

    def has_problem(self, text: str) -> bool:
        return any(text in problem for problem in self.producer.health().problems)

    def end(self) -> int | None:
        """Stop the producer, as SIGTERM does; returns its exit status."""
        self.producer.stop()
        self._thread.join(60)
        return self.status


@contextmanager
def running() -> Iterator[Run]:
    run = Run()
    try:
        yield run
    finally:
        run.end()


@contextmanager
def port_forward(bootstrap: str, port: int) -> Iterator[None]:
    """Make the broker reachable at `port` too."""
    host, _, real = bootstrap.rpartition(":")

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(65536):
                target.sendall(data)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                broker = socket.create_connection((host, int(real)))
                for pair in ((client, broker), (broker, client)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", port)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not within {seconds} s: {what}"
        sleep(0.02)


def keys(bootstrap: str, count: int) -> list[object]:
    """Keys of the first messages on the topic."""
    reader = KafkaConsumer({"bootstrap.servers": bootstrap, "group.id": "look"})
    partitions = reader.list_topics(load().kafka.topic, timeout=10).topics[load().kafka.topic].partitions
    reader.assign([TopicPartition(load().kafka.topic, number, 0) for number in partitions])
    messages: list[Message] = []
    deadline = monotonic() + 60
    while len(messages) < count and monotonic() < deadline:
        messages += [message for message in reader.consume(count - len(messages), 1) if not message.error()]
    reader.close()
    return [message.key() for message in messages]


def assert_waits_in_turns(run: Run, clock: Clock) -> None:
    """However much time passes, the next turn follows, and the producer is alive."""
    for _ in range(3):
        clock.ahead += module.STUCK_SECONDS
        until(lambda: run.producer.health().live, "the next turn")


# --- a waiting producer is alive ---------------------------------------------------


def test_a_wait_that_the_source_asks_for_keeps_it_alive(service: QuoteService, clock: Clock) -> None:
    service.status, service.headers = 429, {"Retry-After": "3600"}
    with running() as run:
        until(lambda: run.has_problem("429"), "health reports it")
        assert_waits_in_turns(run, clock)
        assert len(service.requests) == 1
        assert not run.producer.health().ready
        assert run.end() == EXIT_CLEAN


def test_a_wait_for_room_in_the_queue_keeps_it_alive_and_can_be_stopped(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.1)
    monkeypatch.setenv("KAFKA_OPTIONS", '{"queue.buffering.max.messages": 2}')
    with running() as run:
        until(lambda: run.count("sent") == 2, "the queue is full")
        assert_waits_in_turns(run, clock)
        until(lambda: run.has_problem("Kafka does not answer"), "health reports it")
        assert run.count("failed") == 0
        assert run.end() == EXIT_UNDELIVERED
        # the other quotes are counted as failed, because librdkafka did not take them
        assert (run.count("sent"), run.count("failed")) == (2, len(coins()) - 2)


def test_a_producer_without_a_turn_is_not_alive(clock: Clock) -> None:
    producer = Producer(load(), ProducerMetrics())
    assert producer.health().live
    clock.ahead += module.STUCK_SECONDS
    assert not producer.health().live


def test_a_full_queue_loses_nothing(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    monkeypatch.setenv("KAFKA_OPTIONS", '{"queue.buffering.max.messages": 1}')
    with running() as run:
        until(lambda: run.count("delivered") == len(coins()), "each quote through a queue of one")
        assert run.end() == EXIT_CLEAN
        assert run.count("failed") == 0


# --- odd answers of the source ------------------------------------------------------


def test_a_coin_without_a_quote_is_named_and_the_others_are_sent(
    bootstrap: str, service: QuoteService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    good, first = service.body, coins()[0]
    service.body = json.dumps(GECKO | {first.coingecko_id: None}).encode()
    with running() as run:
        until(lambda: run.count("delivered") == len(coins()) - 1, "the other coins")
        until(lambda: len(service.requests) >= 4, "polls without a backoff")
        assert run.has_problem(f"coingecko has no usable quote of {first.symbol} (Expected `object`, got `null`)")
        labels = {"symbol": first.symbol}
        name = "lakehouse_producer_quotes_unusable_total"
        assert (run.producer._metrics.registry.get_sample_value(name, labels) or 0) >= 3
        service.body = good
        until(lambda: run.count("delivered") == len(coins()), "the coin itself")
        until(lambda: run.producer.health().ready, "the problem is over")
        assert run.end() == EXIT_CLEAN


@pytest.mark.parametrize("source", ["auto", "coingecko", "coinmarketcap"])
def test_an_odd_answer_does_not_end_the_producer(
    bootstrap: str, service: QuoteService, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    monkeypatch.setenv("PRODUCER_SOURCE", source)
    monkeypatch.setenv("PRODUCER_COINMARKETCAP_URL", service.url)
    monkeypatch.setenv("PRODUCER_COINMARKETCAP_API_KEY", "the-key")
    monkeypatch.setattr(module, "MAX_BACKOFF_SECONDS", 0.05)
    service.body = json.dumps(GECKO | CMC).encode()
    with running() as run:
        until(lambda: run.count("delivered") == len(coins()), "the first quotes")
        for body in (b"[" * 100_000, service.body.replace(b"{", b'{"\xff": 0, ', 1), b"<html>", b"9" * 5000):
            service.body = body
            service.requests.clear()
            until(lambda: len(service.requests) > 2, "the next polls")
            assert run.has_problem("unexpected response")
        assert run.end() == EXIT_CLEAN
    assert run.count("failed") == 0


@pytest.mark.parametrize("source", ["auto", "coingecko"])
def test_a_stop_does_not_wait_for_an_answer(
    service: QuoteService, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setenv("PRODUCER_SOURCE", source)
    monkeypatch.setattr(web, "TOTAL_SECONDS", 10_000)  # the answer goes on for longer than the test
    service.raw = b"HTTP/1.1 200 OK\r\n"
    service.drips.set()
    with running() as run:
        until(lambda: len(service.requests) == 1, "the answer drips")
        assert run.end() == EXIT_CLEAN


def test_an_unforeseen_error_loses_nothing_that_is_queued(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    monkeypatch.setenv("KAFKA_OPTIONS", '{"linger.ms": 500}')  # nothing is delivered before the end
    monkeypatch.setattr(Producer, "_send_late", MagicMock(side_effect=[ZeroDivisionError, None]))
    producer = Producer(load(), ProducerMetrics())
    with pytest.raises(ZeroDivisionError):
        producer.run()
    assert producer.health().details["delivered"] == len(coins())


# --- refused deliveries -------------------------------------------------------


def test_a_failed_delivery_is_a_problem_until_the_next_delivery(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    # The built-in broker refuses nothing. Here the refusal is that librdkafka gives up a message.
    monkeypatch.setenv("KAFKA_OPTIONS", '{"message.timeout.ms": 300, "reconnect.backoff.max.ms": 200}')
    with running() as run:
        until(lambda: run.has_problem("message not delivered"), "health reports it")
        assert run.has_problem("create-topic")
        assert not run.producer.health().ready
        assert run.producer.health().live
        with port_forward(bootstrap, port):  # the quotes did not change, but the failed ones are sent again
            until(lambda: run.count("delivered") >= len(coins()), "the quotes are sent again")
            until(lambda: run.producer.health().ready, "the problem is over")
            assert run.end() == EXIT_UNDELIVERED
    assert run.count("failed") >= len(coins())


def test_a_missing_topic_does_not_end_the_producer(empty_broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first quotes are taken and reported as failed. From then on librdkafka takes no quote."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", empty_broker)
    monkeypatch.setenv("KAFKA_OPTIONS", '{"topic.metadata.propagation.max.ms": 100}')
    with running() as run:
        until(lambda: run.has_problem("Unable to produce message: Local: Unknown topic"), "librdkafka takes no more")
        assert run.has_problem("create-topic")
        assert run.producer.health().live
        assert not run.producer.health().ready
        assert run.count("failed") > run.count("sent")  # a quote that was not taken is counted without a report
        create_topic(empty_broker)
        until(lambda: run.count("delivered") >= len(coins()), "the quotes are sent again, although unchanged")
        until(lambda: run.producer.health().ready, "the problem is over")
        assert run.end() == EXIT_UNDELIVERED


def test_health_shows_a_missing_permission_to_write() -> None:
    producer = Producer(load(), ProducerMetrics())
    producer._delivered(DENIED, REPORT, "BTC")
    (problem,) = producer.health().problems
    assert "Topic authorization failed" in problem
    assert repr(load().kafka.topic) in problem
    producer._delivered(DELIVERED, REPORT, "BTC")
    assert producer.health().ready


def test_a_failed_delivery_sends_only_its_own_coin_again() -> None:
    producer = Producer(load(), ProducerMetrics())
    source = Simulator(load().simulator)
    quotes = source.poll().quotes
    producer._send(source, quotes)
    producer._delivered(DENIED, REPORT, quotes[0].symbol)
    producer._send(source, quotes)
    assert producer.health().details["sent"] == len(quotes) + 1


def test_a_fatal_error_of_librdkafka_ends_the_producer() -> None:
    with running() as run:
        run.producer._kafka_failed(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "lost sequence", fatal=True))
        until(lambda: run.status is not None, "it ends by itself")
        assert run.status == EXIT_UNDELIVERED
        assert not run.producer.health().live
        assert run.has_problem("lost sequence")


# --- sent messages -------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected"), [("symbol", {coin.symbol.encode() for coin in coins()}), ("none", {None})]
)
def test_the_key_is_the_symbol_or_none(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch, key: str, expected: set[object]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    monkeypatch.setenv("PRODUCER_KEY", key)
    with running() as run:
        until(lambda: run.count("delivered") == len(coins()), "each quote")
    sent = keys(bootstrap, len(coins()))
    assert len(sent) == len(coins())
    assert set(sent) == expected


@pytest.mark.parametrize("unchanged", [False, True])
def test_an_unchanged_quote_is_sent_again_only_on_request(
    bootstrap: str, service: QuoteService, monkeypatch: pytest.MonkeyPatch, *, unchanged: bool
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    monkeypatch.setenv("PRODUCER_SEND_UNCHANGED", str(unchanged).lower())
    with running() as run:
        until(lambda: len(service.requests) >= 4, "four polls")
        assert run.end() == EXIT_CLEAN
        if unchanged:
            assert run.count("delivered") >= 3 * len(coins())
            assert run.count("unchanged") == 0
        else:
            assert run.count("delivered") == len(coins())
            assert run.count("unchanged") >= 2 * len(coins())


# --- history ------------------------------------------------------------------


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> int:
    """Number of quotes in the history."""
    monkeypatch.setenv("SIMULATOR_HISTORY_HOURS", "1")
    monkeypatch.setenv("SIMULATOR_HISTORY_INTERVAL_SECONDS", "600")
    monkeypatch.setattr(module, "REQUEST_SECONDS", 1.0)
    return 6 * len(coins())


def test_history_waits_for_kafka(bootstrap: str, history: int, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    monkeypatch.setenv("KAFKA_OPTIONS", '{"reconnect.backoff.max.ms": 200}')
    with running() as run:
        until(lambda: run.has_problem("Kafka does not answer"), "health reports it")
        assert run.status is None
        assert run.producer.health().live
        with port_forward(bootstrap, port):
            until(lambda: run.count("delivered") == history + len(coins()), "history and the first quotes")
            assert run.producer.health().ready
            assert run.end() == EXIT_CLEAN


def test_a_wait_for_kafka_before_the_history_can_be_stopped(history: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.1)
    with running() as run:
        until(lambda: run.has_problem("Kafka does not answer"), "health reports it")
        assert run.end() == EXIT_CLEAN
        assert run.count("sent") == 0


def test_history_waits_for_a_topic_that_kafka_does_not_describe(history: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_producer: Producer, _admin: object) -> bool:
        raise KafkaException(DENIED)

    monkeypatch.setattr(Producer, "_ends_are_zero", refused)
    with running() as run:
        until(lambda: run.has_problem("Topic authorization failed"), "health reports it")
        assert run.has_problem("create-topic")
        assert not run.has_problem("does not answer")
