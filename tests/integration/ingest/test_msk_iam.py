"""Programs that log in to Kafka with the tokens of an AWS identity, as to Amazon MSK.

The broker checks unsecured tokens, which the test's signer makes; tests/unit/test_msk_iam.py checks the real signer's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.chaos.rig import ConsumerProcess, wait_until_committed
from tests.integration.ingest.secure import SecureKafka
from tests.integration.ingest.stage import PARTITIONS, Stage, ingest, log_ends, refusal, until, verdict
from tests.servers import free_port

pytestmark = pytest.mark.servers

SIGNER = Path(__file__).parent / "signer"
MSK = "b-1.lake.abcde1.c2.kafka.eu-central-1.amazonaws.com:9098"
"""An address that does not exist. Its name says that this is Amazon MSK, and where."""
SHORT_LIFE = "8"
"""Seconds of a token's life. The broker ends a session with its token, so a client must log in again with a new one."""


@pytest.fixture
def stage(secured: SecureKafka, topic: str, bucket: str, s3: str, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(secured.inner, topic, bucket, s3, tmp_path)
    stage.environment |= {
        "KAFKA_BOOTSTRAP_SERVERS": f"{secured.bootstrap},{MSK}",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "AWS_MSK_IAM",
        "KAFKA_SSL_CA_LOCATION": str(secured.ca),
        "AWS_EC2_METADATA_DISABLED": "true",
        "TEST_SIGNER": str(tmp_path),
        "PYTHONPATH": str(SIGNER),
    }
    yield stage
    stage.end()


def regions(stage: Stage) -> list[str]:
    """The regions of the tokens so far."""
    log = stage.folder / "regions"
    return log.read_text().split() if log.exists() else []


def problems(port: int) -> str:
    return " ".join(httpx.get(f"http://127.0.0.1:{port}/healthz").json()["problems"])


def test_programs_and_commands_log_in_with_an_aws_identity(stage: Stage) -> None:
    assert ingest(stage, "create-topic", "--partitions", str(PARTITIONS)).returncode == 0
    load = stage.load(300, bad_share=0.05)
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert consumer.terminate() == 0
    assert verdict(stage, load).errors == []
    for command in ("replay", "adopt"):
        done = ingest(stage, command)
        assert done.returncode == 0, done.stderr
    assert set(regions(stage)) == {"eu-central-1"}


def test_a_consumer_goes_on_when_its_first_tokens_have_ended(stage: Stage) -> None:
    assert ingest(stage, "create-topic", "--partitions", str(PARTITIONS)).returncode == 0
    loads, port = [stage.load(40)], free_port()
    consumer = stage.consumer(
        CONSUMER_BATCH_AGE_SECONDS="0.5", CONSUMER_HTTP_PORT=str(port), TEST_SIGNER_SECONDS=SHORT_LIFE
    )
    until(lambda: problems(port) == "", "ready")
    first = len(regions(stage))
    until(lambda: len(regions(stage)) >= 3 * first, "the third token of each client")
    loads.append(stage.load(40))
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    until(lambda: problems(port) == "", "still ready")
    assert consumer.terminate() == 0
    assert verdict(stage, *loads).errors == []


def test_a_consumer_without_a_token_says_why_and_waits(stage: Stage) -> None:
    assert ingest(stage, "create-topic", "--partitions", str(PARTITIONS)).returncode == 0
    fault, port = stage.folder / "fault", free_port()
    fault.touch()
    consumer = stage.consumer(
        CONSUMER_BATCH_AGE_SECONDS="0.5", CONSUMER_HTTP_PORT=str(port), TEST_SIGNER_SECONDS=SHORT_LIFE
    )
    until(lambda: "EndpointConnectionError" in problems(port), "the reason at the start")
    fault.unlink()
    until(lambda: problems(port) == "", "ready")
    fault.touch()
    until(lambda: "EndpointConnectionError" in problems(port), "the reason when a token is renewed")
    fault.unlink()
    load = stage.load(40)
    until(lambda: problems(port) == "", "ready again")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert consumer.terminate() == 0
    assert verdict(stage, load).errors == []


def test_a_producer_without_a_token_says_why_and_waits(stage: Stage) -> None:
    assert ingest(stage, "create-topic", "--partitions", str(PARTITIONS)).returncode == 0
    fault, port = stage.folder / "fault", free_port()
    fault.touch()
    source = {"PRODUCER_SOURCE": "simulator", "SIMULATOR_INTERVAL_SECONDS": "0.2", "PRODUCER_HTTP_PORT": str(port)}
    producer = ConsumerProcess(0, stage.environment | source, stage.folder / "producer.log", command="produce")
    producer.start()
    try:
        until(lambda: "EndpointConnectionError" in problems(port), "the reason")
        fault.unlink()
        until(lambda: sum(log_ends(stage).values()) >= 6, "quotes on the topic")
        until(lambda: problems(port) == "", "ready")
        assert producer.terminate() == 0
    finally:
        producer.signal(signal.SIGKILL)


def test_a_command_without_aws_credentials_names_them(stage: Stage) -> None:
    without = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONFIG_FILE": "", "HOME": str(stage.folder)}
    reason = refusal(ingest(stage, "create-topic", **without))
    assert reason.startswith("no new token for the login to Kafka: NoCredentialsError")
    assert "Give it a role" in reason


def look(stage: Stage, **changes: str) -> subprocess.CompletedProcess[str]:
    """Read the topic as the monitor does, by Airflow's connection to Amazon MSK."""
    extra = {
        "bootstrap.servers": stage.environment["KAFKA_BOOTSTRAP_SERVERS"],
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "ssl.ca.location": stage.environment["KAFKA_SSL_CA_LOCATION"],
        "log_level": 0,
    }
    airflow = {
        "AIRFLOW_CONN_KAFKA_DEFAULT": json.dumps({"conn_type": "kafka", "extra": extra}),
        "AIRFLOW_HOME": str(stage.folder),
    }
    program = (
        "from include.on_airflow.connections import kafka_admin, kafka_options, offset_probe\n"
        "from include.monitoring.checks import kafka_offsets\n"
        "from include.ingest.replay.kafka_log import KafkaTopic\n"
        "from include.settings import KafkaSettings\n"
        f"topic, group = {stage.topic!r}, {stage.group!r}\n"
        "reading = kafka_offsets.read(kafka_admin(), offset_probe(group), topic, group)\n"
        "replayed = KafkaTopic(KafkaSettings().model_copy(update={'options': kafka_options()})).ends(topic)\n"
        "print('read', len(reading.partitions), sum(replayed.values()))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"TEST_SIGNER": str(stage.folder), "PYTHONPATH": str(SIGNER)} | airflow | changes,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_monitor_and_the_replay_log_in_by_airflows_connection(stage: Stage) -> None:
    assert ingest(stage, "create-topic", "--partitions", str(PARTITIONS)).returncode == 0
    stage.load(40)
    done = look(stage)
    assert f"read {PARTITIONS} 40" in done.stdout, done.stderr
    (stage.folder / "fault").touch()
    refused = look(stage)
    assert refused.returncode != 0
    assert "UnreachableError: no new token for the login to Kafka: EndpointConnectionError" in refused.stderr
