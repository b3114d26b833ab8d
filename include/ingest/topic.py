"""The topic: its facts as Kafka describes them, what exactly-once landing needs of it, and its creation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from include.landing.contract import NO_TOPIC_ID
from include.reasons import reason_of
from include.settings import KafkaSettings

ADMIN_SECONDS = 15.0
DEFAULT_PARTITIONS = 6
TOPIC_CONFIG = {
    "message.timestamp.type": "LogAppendTime",
    "cleanup.policy": "delete",
    "unclean.leader.election.enable": "false",
}
"""The configuration that the landing contract needs (docs/exactly-once.md)."""
SEGMENT_MS = 86_400_000
"""A day, for a topic that we create. Kafka deletes whole segments, so a record lives for its retention plus this time.
The warehouse looks that far back for landed files (`landing_sweep_days` in include/dbt/dbt_project.yml)."""
BUILT_IN_BROKER = "mockCluster"
"""Start of the cluster id of librdkafka's built-in broker, which answers no administrative request."""
_NO_ID = "A" * 22
"""The all-zero UUID as Kafka prints it."""


class TopicError(RuntimeError):
    """The topic is not fit for landing, or does not exist; the text says what to change."""


class UnreachableError(TopicError):
    """Kafka does not answer now; a retry may help."""


class Admin(AdminClient):
    """An admin client that keeps the reason why Kafka does not answer: a call's own error is only a time-out."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._reason = ""
        # librdkafka would log each of its attempts, twenty a second. Our own error has the reason.
        super().__init__({"log_level": 2} | config | {"error_cb": self._failed})

    def _failed(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # the error before it says more
            self._reason = reason_of(error)

    def unreachable(self, error: KafkaException) -> UnreachableError:
        """The error of a call, with the reason that librdkafka reported: refused, wrong password, unknown CA."""
        self.poll(0)
        return UnreachableError(f"Kafka does not answer: {self._reason or reason_of(error)}")


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as the broker describes it; `config` is None if the broker does not report it."""

    cluster_id: str
    topic: str
    topic_id: str
    partitions: int
    config: dict[str, str] | None


def describe(admin: Admin, topic: str) -> TopicFacts:
    """Read the topic's facts.

    Raises:
        TopicError: the topic does not exist, or Kafka does not answer.
    """
    try:
        cluster = admin.list_topics(timeout=ADMIN_SECONDS)  # no name: a named topic might be created
    except KafkaException as error:
        raise admin.unreachable(error) from error
    metadata = cluster.topics.get(topic)
    if metadata is None or metadata.error is not None or not metadata.partitions:
        raise TopicError(f"topic {topic!r} is not there: create it with python -m include.ingest create-topic")
    built_in = is_built_in(cluster.cluster_id)
    return TopicFacts(
        cluster_id=str(cluster.cluster_id),
        topic=topic,
        topic_id=NO_TOPIC_ID if built_in else _topic_id(admin, topic),
        partitions=len(metadata.partitions),
        config=None if built_in else _config(admin, topic),
    )


def is_built_in(cluster_id: str | None) -> bool:
    """Whether the broker is librdkafka's built-in one."""
    return str(cluster_id).startswith(BUILT_IN_BROKER)


def _topic_id(admin: AdminClient, topic: str) -> str:
    try:
        description = admin.describe_topics(TopicCollection([topic]), request_timeout=ADMIN_SECONDS)[topic].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:
            return NO_TOPIC_ID
        raise UnreachableError(f"Kafka does not describe topic {topic!r}: {reason_of(error)}") from error
    topic_id = str(description.topic_id)
    return NO_TOPIC_ID if topic_id in (_NO_ID, "", "None") else topic_id


def _config(admin: AdminClient, topic: str) -> dict[str, str] | None:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        entries = admin.describe_configs([resource], request_timeout=ADMIN_SECONDS)[resource].result()
    except KafkaException as error:
        if error.args[0].code() in (KafkaError._UNSUPPORTED_FEATURE, KafkaError.TOPIC_AUTHORIZATION_FAILED):
            return None
        raise UnreachableError(
            f"Kafka does not report the configuration of topic {topic!r}: {reason_of(error)}"
        ) from error
    return {name: str(entry.value) for name, entry in entries.items()}


def require_fit(facts: TopicFacts, *, allow_create_time: bool, allow_missing_topic_id: bool) -> list[str]:
    """Refuse a topic whose records landing could lose or double; returns the relaxed guarantees, in words.

    Raises:
        TopicError: the text names setting, value and remedy.
    """
    relaxed: list[str] = []
    config = facts.config or {}
    time_type = config.get("message.timestamp.type", "unknown")
    if time_type != TOPIC_CONFIG["message.timestamp.type"]:
        if not allow_create_time:
            raise TopicError(
                f"topic {facts.topic!r} has message.timestamp.type={time_type}: a producer's wrong clock would file "
                "records under wrong days. Set it to LogAppendTime, or set CONSUMER_ALLOW_CREATE_TIME=true"
            )
        relaxed.append(f"message.timestamp.type={time_type}")
    if facts.topic_id == NO_TOPIC_ID:
        if not allow_missing_topic_id:
            raise TopicError(
                "the broker has no topic ids, so a topic deleted and recreated cannot be noticed. "
                "Use Kafka 2.8 or later, or set CONSUMER_ALLOW_MISSING_TOPIC_ID=true"
            )
        relaxed.append("no topic id")
    if config.get("cleanup.policy", "delete") != "delete":
        raise TopicError(
            f"topic {facts.topic!r} has cleanup.policy={config['cleanup.policy']}: compaction removes records before "
            "they are landed. Set it to delete"
        )
    if config.get("unclean.leader.election.enable", "false") != "false":
        raise TopicError(
            f"topic {facts.topic!r} has unclean.leader.election.enable=true: records that are landed could be replaced "
            "by others at the same offsets. Set it to false"
        )
    return relaxed


def ensure_topic(kafka: KafkaSettings, partitions: int, replication: int, retention_hours: float | None) -> bool:
    """Create the topic unless it exists; returns whether it was created.

    Raises:
        TopicError: Kafka refuses, or its broker cannot create topics.
    """
    admin = Admin(kafka.client_config())
    if _created_by_built_in(admin, kafka.topic):
        return False
    config = TOPIC_CONFIG | {"segment.ms": str(SEGMENT_MS)}
    if retention_hours is not None:
        config["retention.ms"] = str(int(retention_hours * 3_600_000))
    topic = NewTopic(kafka.topic, num_partitions=partitions, replication_factor=replication, config=config)
    try:
        admin.create_topics([topic], request_timeout=ADMIN_SECONDS)[kafka.topic].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise TopicError(f"topic {kafka.topic!r} could not be created: {reason_of(error)}") from error
    return True


def _created_by_built_in(admin: Admin, topic: str) -> bool:
    """Request the topic's metadata from the built-in broker, which creates it; returns whether that is the broker."""
    try:
        built_in = is_built_in(admin.list_topics(timeout=ADMIN_SECONDS).cluster_id)
        if built_in:
            admin.list_topics(topic, timeout=ADMIN_SECONDS)
        return built_in
    except KafkaException as error:
        raise admin.unreachable(error) from error
