"""No program makes a topic by looking at it, on an Apache Kafka that creates topics (its default)."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from include.audit import __main__ as audit_program
from include.ingest import __main__ as program
from include.ingest import topic
from include.ingest.factory import build_consumer
from include.ingest.metrics import ConsumerMetrics, ProducerMetrics
from include.ingest.producer import Producer
from include.ingest.replay.kafka_log import KafkaTopic
from include.ingest.shutdown import Deadline
from include.ingest.store import open_store
from include.ingest.topic import TopicError
from include.landing.dead_letter import DeadLetter
from include.local.broker import CONFIG, available_kind, wait_until_ready
from include.local.status import Observer
from include.monitoring.checks import kafka_offsets
from include.settings import load
from tests.airflow_connections import kafka_connection
from tests.integration.ingest.stage import until
from tests.servers import free_port, process

pytestmark = pytest.mark.servers

START = """
import sys; from pathlib import Path; from include.local import broker
state = Path(sys.argv[1]); broker.CONFIG = state / "template.properties"
broker.exec_kafka(state, int(sys.argv[2]), int(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def auto_creating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of Apache Kafka with `auto.create.topics.enable`."""
    if available_kind()[0] != "kafka":
        pytest.skip("needs Apache Kafka (Java 17 and its jars)")
    state, port = tmp_path_factory.mktemp("auto-creating"), free_port()
    properties = CONFIG.read_text()
    assert "auto.create.topics.enable=false" in properties
    (state / "template.properties").write_text(
        properties.replace("auto.create.topics.enable=false", "auto.create.topics.enable=true")
    )
    command = [sys.executable, "-c", START, str(state), str(port), str(free_port())]
    with process(command, state / "broker.log", folder=Path(__file__).parents[3]):
        wait_until_ready(f"127.0.0.1:{port}", seconds=120)
        yield f"127.0.0.1:{port}"


@pytest.fixture
def missing(auto_creating: str, topic: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a topic that is not there, to which every program is set."""
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": auto_creating, "KAFKA_TOPIC": topic, "KAFKA_GROUP": f"group-{topic}",
        "KAFKA_OPTIONS": json.dumps({"topic.metadata.propagation.max.ms": 500, "log_level": 3}),
        "S3_BUCKET": bucket, "PRODUCER_SOURCE": "simulator", "SIMULATOR_INTERVAL_SECONDS": "0.1",
        "PRODUCER_HTTP_PORT": "0", "AIRFLOW_CONN_KAFKA_DEFAULT": kafka_connection(auto_creating),
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return topic


def is_there(bootstrap: str, name: str) -> bool:
    """Whether the topic exists. The controller creates topics in turn, so a later one shows that it is done."""
    admin, later = AdminClient({"bootstrap.servers": bootstrap}), f"{name}-later"
    with suppress(Exception):  # it is there already
        admin.create_topics([NewTopic(later, 1)])[later].result()
    until(lambda: later in admin.list_topics(timeout=10).topics, "the later topic")
    return name in admin.list_topics(timeout=10).topics


def send_quotes() -> None:
    """Run the producer until health says that the topic is missing."""
    producer = Producer(load(), ProducerMetrics())
    thread = threading.Thread(target=producer.run, daemon=True)
    thread.start()
    until(lambda: "create-topic" in " ".join(producer.health().problems), "health names the remedy")
    producer.stop()
    thread.join(60)
    assert producer.health().details["delivered"] == 0


def send_history() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIMULATOR_HISTORY_HOURS", "1")
        send_quotes()


def consume() -> None:
    settings = load()
    store = open_store(settings.storage, settings.aws)
    with pytest.raises(TopicError, match="create-topic"):
        build_consumer(settings, store, store, ConsumerMetrics(), Deadline(60, lambda _: None))


def monitor() -> None:
    from include.on_airflow.connections import kafka_admin, offset_probe

    kafka = load().kafka
    with pytest.raises(kafka_offsets.KafkaUnreadableError, match="create-topic"):
        kafka_offsets.read(kafka_admin(), offset_probe(kafka.group), kafka.topic, kafka.group)


def replay() -> None:
    kafka = load().kafka
    dead_letter = DeadLetter(kafka.topic, 0, 0, 0, 0, "not_json", "", None, b"{", [], datetime.now(UTC))
    replayer = KafkaTopic(kafka)
    assert replayer.ends(kafka.topic) == {}
    assert not replayer.holds(dead_letter, {})
    with suppress(Exception):
        replayer.send(dead_letter)


def operate() -> None:
    with pytest.raises(TopicError, match="create-topic"):
        topic.describe(topic.Admin(load().kafka.client_config()), load().kafka.topic)


def look_at_status() -> None:
    settings = load()
    observer = Observer(settings, MagicMock(), Path("mailbox"))
    with closing(observer._consumer):
        assert observer._kafka() == (0, 0)


def audit() -> None:
    assert audit_program.main(["run", "--without-layers"]) == audit_program.EXIT_REFUSED


def find_a_record() -> None:
    assert audit_program.main(["where", "0/0", "--without-layers"]) != 0


CLIENTS: list[Callable[[], None]] = [
    send_quotes, send_history, consume, monitor, replay, operate, look_at_status, audit, find_a_record,
]  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_a_client_does_not_create_the_topic(auto_creating: str, missing: str, client: Callable[[], None]) -> None:
    client()
    assert not is_there(auto_creating, missing)


def create(*arguments: str) -> int:
    options: argparse.Namespace = program.parser().parse_args(["create-topic", *arguments])
    return program.create_topic(load(), options)


def test_create_topic_names_the_differences_of_an_existing_topic(auto_creating: str, missing: str) -> None:
    admin = AdminClient({"bootstrap.servers": auto_creating})
    admin.list_topics(missing, timeout=10)  # this client creates it
    until(lambda: missing in admin.list_topics(timeout=10).topics, "the broker's own topic")
    with pytest.raises(TopicError) as refused:
        create("--partitions", "6", "--retention-hours", "24")
    for text in ("partitions=1, asked for 6", "message.timestamp.type=CreateTime", "retention.ms=604800000"):
        assert text in str(refused.value)


def test_create_topic_accepts_its_own_topic(auto_creating: str, missing: str) -> None:
    assert create("--partitions", "3", "--retention-hours", "24") == 0
    assert create("--partitions", "3", "--retention-hours", "24") == 0
    assert create() == 0
