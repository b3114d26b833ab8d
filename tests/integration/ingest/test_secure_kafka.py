"""Producer and consumer use TLS and SASL, and report why a broker refuses them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.chaos.rig import ConsumerProcess, wait_until_committed
from tests.integration.ingest.secure import PASSWORD, USER, SecureKafka
from tests.integration.ingest.stage import PARTITIONS, Stage, ingest, log_ends, until, verdict
from tests.servers import free_port

pytestmark = pytest.mark.servers


@pytest.fixture
def stage(secured: SecureKafka, topic: str, bucket: str, s3: str, tmp_path: Path) -> Iterator[Stage]:
    """Like the other tests' stage, but the programs use the secured listener."""
    stage = Stage(secured.inner, topic, bucket, s3, tmp_path)
    stage.environment |= {
        "KAFKA_BOOTSTRAP_SERVERS": secured.bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": PASSWORD,
        "KAFKA_SSL_CA_LOCATION": str(secured.ca),
    }
    yield stage
    stage.end()


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
        until(lambda: sum(log_ends(stage).values()) >= 6, "quotes on the topic")
        assert producer.terminate() == 0
    finally:
        producer.signal(signal.SIGKILL)
    last = json.loads(producer.log.read_text().splitlines()[-1])
    assert (last["delivered"], last["failed"]) == (sum(log_ends(stage).values()), 0)


def test_a_refused_consumer_reports_the_reason_and_waits(stage: Stage) -> None:
    refused = {
        "Authentication failed": stage.consumer(KAFKA_SASL_PASSWORD="wrong-password"),
        "certificate verify failed": stage.consumer(KAFKA_SSL_CA_LOCATION=""),
    }
    for reason, consumer in refused.items():
        until(lambda log=consumer.log: '"not started yet"' in log.read_text(), "the reason")  # type: ignore[misc]
        waiting = [line for line in consumer.log.read_text().splitlines() if '"not started yet"' in line]
        assert reason in json.loads(waiting[0])["reason"]
        assert consumer.running
    assert "wrong-password" not in stage.log()


def rule(stage: Stage, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    """An access rule of the consumer's user on the topic."""
    return AclBinding(
        ResourceType.TOPIC, stage.topic, ResourcePatternType.LITERAL, f"User:{USER}", "*", operation, permission
    )


def test_a_right_to_read_that_is_taken_away_is_a_problem_until_it_is_back(stage: Stage) -> None:
    assert ingest(stage, "create-topic", "--partitions", str(PARTITIONS)).returncode == 0
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    allowed = rule(stage, AclOperation.ALL, AclPermissionType.ALLOW)
    denied = rule(stage, AclOperation.READ, AclPermissionType.DENY)
    admin.create_acls([allowed])[allowed].result(60)
    port = free_port()
    loads = [stage.load(40)]
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5", CONSUMER_HTTP_PORT=str(port))
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    until(lambda: problems(port) == [], "ready")
    admin.create_acls([denied])[denied].result(60)
    until(lambda: "Kafka reported" in " ".join(problems(port)), "the problem")
    loads.append(stage.load(40))
    reports = consumer.log.read_text().count('"progress"')
    # Reports and questions for the logs' ends are both 10 s apart, so Kafka is asked meanwhile.
    until(lambda: consumer.log.read_text().count('"progress"') >= reports + 3, "three reports")
    assert "Kafka reported" in " ".join(problems(port))
    (lifted,) = admin.delete_acls([denied_filter(denied)]).values()
    assert len(lifted.result(60)) == 1
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    until(lambda: problems(port) == [], "ready again")
    assert consumer.terminate() == 0
    assert verdict(stage, *loads).errors == []


def denied_filter(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype, binding.name, binding.resource_pattern_type, binding.principal, binding.host,
        binding.operation, binding.permission_type,
    )  # fmt: skip


def problems(port: int) -> list[str]:
    return list(httpx.get(f"http://127.0.0.1:{port}/healthz").json()["problems"])
