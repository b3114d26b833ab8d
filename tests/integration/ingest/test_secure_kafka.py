"""Producer and consumer through TLS and SASL, and what they say when they are not let in."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.local import broker
from tests.chaos.rig import ConsumerProcess, wait_until_committed
from tests.integration.ingest.conftest import PARTITIONS, Stage
from tests.integration.ingest.secure import PASSWORD, USER, SecureKafka, secure_kafka
from tests.integration.ingest.test_consumer import _ends, ingest, until, verdict

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    if broker.available_kind()[0] != "kafka":
        pytest.skip("needs Apache Kafka (Java 17 and its jars)")
    with secure_kafka(tmp_path_factory.mktemp("secure-kafka")) as made:
        yield made


@pytest.fixture
def stage(secured: SecureKafka, topic: str, bucket: str, s3: str, tmp_path: Path) -> Iterator[Stage]:
    """As the other tests' stage, but programs come in through the secured listener."""
    made = Stage(secured.inner, topic, bucket, s3, tmp_path)
    made.environment |= {
        "KAFKA_BOOTSTRAP_SERVERS": secured.bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": PASSWORD,
        "KAFKA_SSL_CA_LOCATION": str(secured.ca),
    }
    yield made
    for consumer in made.consumers:
        consumer.kill()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_topic_producer_and_consumer_work_through_sasl_and_tls(stage: Stage, mechanism: str) -> None:
    stage.environment["KAFKA_SASL_MECHANISM"] = mechanism
    assert ingest(stage, "create-topic", "--partitions", str(PARTITIONS)).returncode == 0
    load = stage.load(300, bad_share=0.05)
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert consumer.terminate() == 0
    assert verdict(stage, load).errors == []
    assert PASSWORD not in stage.log()


def test_the_producer_sends_through_sasl_and_tls(stage: Stage) -> None:
    assert ingest(stage, "create-topic", "--partitions", str(PARTITIONS)).returncode == 0
    source = {"PRODUCER_SOURCE": "simulator", "SIMULATOR_INTERVAL_SECONDS": "0.2", "PRODUCER_HTTP_PORT": "0"}
    producer = ConsumerProcess(0, stage.environment | source, stage.folder / "producer.log", command="produce")
    producer.start()
    try:
        until(lambda: sum(_ends(stage).values()) >= 6, "quotes on the topic")
        assert producer.terminate() == 0
    finally:
        producer.signal(signal.SIGKILL)
    last = json.loads(producer.log.read_text().splitlines()[-1])
    assert (last["delivered"], last["failed"]) == (sum(_ends(stage).values()), 0)


def test_who_is_not_let_in_says_why_and_waits(stage: Stage) -> None:
    kept_out = {
        "Authentication failed": stage.consumer(KAFKA_SASL_PASSWORD="wrong-password"),
        "certificate verify failed": stage.consumer(KAFKA_SSL_CA_LOCATION=""),
    }
    for said, consumer in kept_out.items():
        until(lambda log=consumer.log: '"not started yet"' in log.read_text(), "the reason")  # type: ignore[misc]
        waiting = [line for line in consumer.log.read_text().splitlines() if '"not started yet"' in line]
        assert said in json.loads(waiting[0])["reason"]
        assert consumer.running
    assert "wrong-password" not in stage.log()
