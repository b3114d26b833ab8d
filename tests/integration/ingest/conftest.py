"""The stage of one test, on Apache Kafka and the AWS emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from include.ingest.topic import ensure_topic
from include.settings import KafkaSettings
from tests.integration.ingest.secure import SecureKafka, secure_kafka
from tests.integration.ingest.stage import PARTITIONS, Stage
from tests.servers import KafkaServer


@pytest.fixture
def stage(kafka_server: KafkaServer, topic: str, bucket: str, s3: str, tmp_path: Path) -> Iterator[Stage]:
    ensure_topic(KafkaSettings(bootstrap_servers=kafka_server.bootstrap, topic=topic), PARTITIONS, 1, None)
    stage = Stage(kafka_server.bootstrap, topic, bucket, s3, tmp_path)
    yield stage
    stage.end()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A broker of the module's own, with TLS and SASL."""
    with secure_kafka(tmp_path_factory.mktemp("secure-kafka")) as kafka:
        yield kafka
