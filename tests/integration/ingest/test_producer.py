"""The producer as a process, with real Kafka and a web service that responds like CoinMarketCap."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import TopicPartition

from tests.chaos.rig import ConsumerProcess
from tests.integration.ingest.stage import PARTITIONS, Stage, until
from tests.quote_service import CMC, PRICES, QuoteService, quote_service
from tests.servers import free_port

pytestmark = pytest.mark.servers

ASKED_SECONDS = 2.0
"""The pause that the service asks for. Polls are 0.3 s apart otherwise."""


@pytest.fixture
def service() -> Iterator[QuoteService]:
    with quote_service(CMC) as running:
        yield running


@pytest.fixture
def producer(stage: Stage, service: QuoteService) -> Iterator[ConsumerProcess]:
    source = {
        "PRODUCER_SOURCE": "coinmarketcap", "PRODUCER_COINMARKETCAP_URL": service.url,
        "PRODUCER_COINMARKETCAP_API_KEY": "the-key", "PRODUCER_POLL_SECONDS": "0.3",
        "PRODUCER_HTTP_PORT": str(free_port()),
    }  # fmt: skip
    producer = ConsumerProcess(0, stage.environment | source, stage.folder / "producer.log", command="produce")
    yield producer
    producer.kill()


def messages(stage: Stage) -> list[tuple[bytes, float]]:
    """Key and price of every message on the topic, in the order of each partition."""
    reader = KafkaConsumer({"bootstrap.servers": stage.bootstrap, "group.id": "look", "enable.partition.eof": True})
    reader.assign([TopicPartition(stage.topic, number, 0) for number in range(PARTITIONS)])
    quotes, ends = [], 0
    while ends < PARTITIONS:
        message = reader.poll(60)
        assert message is not None
        if message.error():
            ends += 1
        else:
            key, value = message.key(), message.value()
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            quotes.append((key, float(json.loads(value)["price"])))
    reader.close()
    return quotes


def test_a_quote_is_sent_when_it_changes_and_a_rate_limit_is_obeyed(
    stage: Stage, service: QuoteService, producer: ConsumerProcess
) -> None:
    producer.start()
    until(lambda: len(service.requests) >= 4, "four polls")
    until(lambda: len(messages(stage)) >= len(PRICES), "their quotes")
    assert dict(messages(stage)) == {symbol.encode(): price for symbol, price in PRICES.items()}
    service.headers = {"Retry-After": f"{ASKED_SECONDS:.0f}"}
    service.status = 429
    health = f"http://127.0.0.1:{producer.environment['PRODUCER_HTTP_PORT']}/healthz"
    until(lambda: "429" in httpx.get(health).text, "health says it")
    assert httpx.get(health).status_code == 503
    assert httpx.get(f"{health}/live").status_code == 200
    service.status = 200
    changed = PRICES["BTC"] + 1
    service.body = service.body.replace(str(PRICES["BTC"]).encode(), str(changed).encode())
    until(lambda: service.answers[-1][1] == 200, "the next poll")
    refused = max(index for index, (_, status) in enumerate(service.answers) if status == 429)
    assert service.answers[refused + 1][0] - service.answers[refused][0] >= ASKED_SECONDS
    sent = len(PRICES) + 1
    until(lambda: len(messages(stage)) == sent, "the changed quote")
    assert (b"BTC", changed) in messages(stage)
    assert producer.terminate() == 0
    last = json.loads(producer.log.read_text().splitlines()[-1])
    assert (last["sent"], last["delivered"], last["failed"], last["undelivered"]) == (sent, sent, 0, 0)
    assert last["unchanged"] >= 3 * len(PRICES)
    assert "the-key" not in producer.log.read_text()
    assert service.requests[0][1]["X-CMC_PRO_API_KEY"] == "the-key"


def test_a_refused_api_key_ends_the_producer_after_delivery(
    stage: Stage, service: QuoteService, producer: ConsumerProcess
) -> None:
    producer.start()
    until(lambda: len(service.requests) >= 2, "a poll that was answered")
    service.status = 401
    assert producer.process is not None
    assert producer.process.wait(60) == 2
    lines = [json.loads(line) for line in producer.log.read_text().splitlines()]
    assert "is the API key right?" in lines[-1]["reason"]
    assert (lines[-2]["message"], lines[-2]["delivered"], lines[-2]["undelivered"]) == ("stopped", len(PRICES), 0)
    assert len(messages(stage)) == len(PRICES)


def test_quotes_wait_for_kafka_and_health_says_so(service: QuoteService, producer: ConsumerProcess) -> None:
    producer.environment |= {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    producer.start()
    health = f"http://127.0.0.1:{producer.environment['PRODUCER_HTTP_PORT']}/healthz"
    until(lambda: len(service.requests) >= 2, "two polls")
    until(lambda: "Kafka does not answer" in httpx.get(health).text, "health says it")
    assert "Connection refused" in httpx.get(health).text
    assert httpx.get(health).json()["failed"] == 0
