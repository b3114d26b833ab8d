"""A stage for consumers: topic, bucket, settings and processes of one test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.ingest.topic import ensure_topic
from include.settings import KafkaSettings
from tests.chaos.rig import ConsumerProcess, Load
from tests.servers import KafkaServer

PARTITIONS = 4


class Stage:
    """One topic and one bucket; `consumer()` makes processes, `load()` sends messages."""

    def __init__(self, bootstrap: str, topic: str, bucket: str, endpoint: str, folder: Path) -> None:
        self.bootstrap, self.topic, self.bucket, self.endpoint = bootstrap, topic, bucket, endpoint
        self.group = f"group-{topic}"
        self.folder = folder
        self.consumers: list[ConsumerProcess] = []
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "KAFKA_TOPIC": topic,
            "KAFKA_GROUP": self.group,
            "KAFKA_OPTIONS": '{"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "log_level": 3}',
            "S3_BUCKET": bucket,
            "AWS_ENDPOINT_URL": endpoint,
            "CONSUMER_HTTP_PORT": "0",
            "CONSUMER_CLOUDWATCH": "false",
            "CONSUMER_BATCH_AGE_SECONDS": "60",
        }

    def consumer(self, **changes: str) -> ConsumerProcess:
        """A started consumer; `changes` are environment variables."""
        number = len(self.consumers)
        made = ConsumerProcess(number, self.environment | changes, self.folder / f"consumer-{number}.log")
        self.consumers.append(made)
        made.start()
        return made

    def load(self, count: int, bad_share: float = 0.0) -> Load:
        """Send `count` messages and wait for their acknowledgements."""
        load = Load(self.bootstrap, self.topic, PARTITIONS, seed=count, rate=0, bad_share=bad_share)
        for _ in range(count):
            load.send_one()
        load.finish()
        assert len(load.acknowledged) == count
        return load

    def log(self) -> str:
        """What all consumers said."""
        return "".join(one.log.read_text() for one in self.consumers)


@pytest.fixture
def stage(kafka_server: KafkaServer, topic: str, bucket: str, s3: str, tmp_path: Path) -> Iterator[Stage]:
    if kafka_server.kind != "kafka":
        pytest.skip("needs Apache Kafka (Java 17 and its jars)")
    ensure_topic(KafkaSettings(bootstrap_servers=kafka_server.bootstrap, topic=topic), PARTITIONS, 1, None)
    made = Stage(kafka_server.bootstrap, topic, bucket, s3, tmp_path)
    yield made
    for consumer in made.consumers:
        consumer.signal(signal.SIGCONT)
        consumer.kill()
