"""The topic: its facts as Kafka describes them, what exactly-once landing needs of it, and its creation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from include.landing.contract import NO_TOPIC_ID
from include.msk_iam import CALLBACK, Token
from include.reasons import reason_of
from include.settings import AUTO_CREATION, KafkaSettings

ADMIN_SECONDS = 15.0
DEFAULT_PARTITIONS = 6
DEFAULT_REPLICATION = 1


@dataclass(frozen=True, slots=True)
class Requirement:
    """A value of the topic's configuration that landing needs (docs/exactly-once.md), and why.

    `if_unknown` is the value to assume if the broker does not report it.
    """

    name: str
    value: str
    why: str
    if_unknown: str


TIME_TYPE = Requirement(
    "message.timestamp.type", "LogAppendTime", "a producer's wrong clock would file records under wrong days", "unknown"
)
REQUIREMENTS = (
    TIME_TYPE,
    Requirement("cleanup.policy", "delete", "compaction removes records before they are landed", "delete"),
    Requirement(
        "unclean.leader.election.enable", "false",
        "records that are landed could be replaced by others at the same offsets", "false",
    ),
)  # fmt: skip
TOPIC_CONFIG = {requirement.name: requirement.value for requirement in REQUIREMENTS}
"""The configuration of a topic that we create, besides `SEGMENT_MS`."""
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


Client = TypeVar("Client")


def connected(client: Callable[[dict[str, Any]], Client], config: dict[str, Any]) -> Client:
    """A client with these settings. With a login by token it has its first token when it is made.

    Raises:
        UnreachableError: there was no token in ten seconds.
        KafkaException: librdkafka refuses a setting.
    """
    try:
        return client(config)
    except KafkaException as error:
        token = config.get(CALLBACK)
        if not isinstance(token, Token) or error.args[0].code() != KafkaError.SASL_AUTHENTICATION_FAILED:
            raise
        reasons = token.problems() or [f"no token for the login to Kafka: {reason_of(error)}"]
        raise UnreachableError("; ".join(reasons)) from error


class Admin(AdminClient):
    """An admin client that keeps the reason why Kafka does not answer: a call's own error is only a time-out."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._reason = ""
        # librdkafka would log each of its attempts, twenty a second. Our own error has the reason.
        connected(super().__init__, {"log_level": 2} | config | {"error_cb": self._failed})

    def _failed(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # the error before it says more
            self._reason = reason_of(error)

    def unreachable(self, error: KafkaException) -> UnreachableError:
        """The error of a call, with the reason that librdkafka reported: refused, wrong password, unknown CA."""
        self.poll(0)
        return UnreachableError(f"Kafka does not answer: {self._reason or reason_of(error)}")


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as the broker describes it; `config` is None if the broker does not report it.

    `replication` is the smallest number of copies of a partition.
    """

    cluster_id: str
    topic: str
    topic_id: str
    partitions: int
    config: dict[str, str] | None
    replication: int = DEFAULT_REPLICATION

    def unmet(self) -> list[tuple[Requirement, str]]:
        """The requirements that the topic does not meet, each with the topic's value."""
        config = self.config or {}
        values = [(requirement, config.get(requirement.name, requirement.if_unknown)) for requirement in REQUIREMENTS]
        return [(requirement, value) for requirement, value in values if value != requirement.value]


def describe(admin: Admin, topic: str) -> TopicFacts:
    """Read the topic's facts.

    Raises:
        TopicError: the topic does not exist, or Kafka does not answer.
    """
    try:
        cluster = admin.list_topics(timeout=ADMIN_SECONDS)
    except KafkaException as error:
        raise admin.unreachable(error) from error
    metadata = cluster.topics.get(topic)
    if metadata is None or metadata.error is not None or not metadata.partitions:
        raise TopicError(
            f"topic {topic!r} is not there, or this user may not describe it: create it with "
            "python -m include.ingest create-topic, or allow Describe"
        )
    built_in = is_built_in(cluster.cluster_id)
    return TopicFacts(
        cluster_id=str(cluster.cluster_id),
        topic=topic,
        topic_id=NO_TOPIC_ID if built_in else _topic_id(admin, topic),
        partitions=len(metadata.partitions),
        config=None if built_in else _config(admin, topic),
        replication=min(len(partition.replicas) for partition in metadata.partitions.values()),
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
    for requirement, value in facts.unmet():
        is_time = requirement is TIME_TYPE
        if not (is_time and allow_create_time):
            remedy = ", or set CONSUMER_ALLOW_CREATE_TIME=true" if is_time else ""
            raise TopicError(
                f"topic {facts.topic!r} has {requirement.name}={value}: {requirement.why}. "
                f"Set it to {requirement.value}{remedy}"
            )
        relaxed.append(f"{requirement.name}={value}")
    if facts.topic_id == NO_TOPIC_ID:
        if not allow_missing_topic_id:
            raise TopicError(
                "the broker has no topic ids, so a topic deleted and recreated cannot be noticed. "
                "Use Kafka 2.8 or later, or set CONSUMER_ALLOW_MISSING_TOPIC_ID=true"
            )
        relaxed.append("no topic id")
    return relaxed


@dataclass(frozen=True, slots=True)
class Wanted:
    """The topic that an operator asks for; None stands for a default, which an existing topic need not have."""

    partitions: int | None = None
    replication: int | None = None
    retention_hours: float | None = None

    def retention(self) -> dict[str, str]:
        """The configuration of the retention; empty for the broker's."""
        if self.retention_hours is None:
            return {}
        return {"retention.ms": str(int(self.retention_hours * 3_600_000))}

    def differences(self, facts: TopicFacts, *, allow_create_time: bool) -> list[str]:
        """How an existing topic differs from this one and from what landing needs, each with the remedy."""
        topic, alter = facts.topic, f"kafka-configs.sh --alter --entity-type topics --entity-name {facts.topic}"
        texts: list[str] = []
        if self.partitions is not None and self.partitions != facts.partitions:
            remedy = "a topic cannot lose partitions: give its number, or use another topic"
            if self.partitions > facts.partitions:
                remedy = f"run kafka-topics.sh --alter --topic {topic} --partitions {self.partitions}"
            texts.append(f"partitions={facts.partitions}, asked for {self.partitions} ({remedy})")
        if self.replication is not None and self.replication != facts.replication:
            remedy = "run kafka-reassign-partitions.sh, or give the topic's number"
            texts.append(f"replication={facts.replication}, asked for {self.replication} ({remedy})")
        for name, value in self.retention().items():
            if (present := (facts.config or {}).get(name, "unknown")) != value:
                texts.append(f"{name}={present}, asked for {value} (run {alter} --add-config {name}={value})")
        for requirement, value in facts.unmet():
            if requirement is TIME_TYPE and allow_create_time:
                continue
            setting = f"{requirement.name}={requirement.value}"
            texts.append(f"{requirement.name}={value}: {requirement.why} (run {alter} --add-config {setting})")
        return texts


def ensure_topic(
    kafka: KafkaSettings,
    partitions: int | None,
    replication: int | None,
    retention_hours: float | None,
    *,
    allow_create_time: bool = False,
) -> TopicFacts | None:
    """Create the topic unless it exists; returns None if it was created, else the facts of the topic that is there.

    The numbers are those of `Wanted`.

    Raises:
        TopicError: Kafka refuses, or the topic that is there is another than the one asked for, or not fit for landing.
    """
    wanted = Wanted(partitions, replication, retention_hours)
    admin = Admin(kafka.client_config())
    if _is_made_by_built_in(kafka, admin):
        return describe(admin, kafka.topic)
    new = NewTopic(
        kafka.topic,
        num_partitions=DEFAULT_PARTITIONS if wanted.partitions is None else wanted.partitions,
        replication_factor=DEFAULT_REPLICATION if wanted.replication is None else wanted.replication,
        config=TOPIC_CONFIG | {"segment.ms": str(SEGMENT_MS)} | wanted.retention(),
    )
    try:
        admin.create_topics([new], request_timeout=ADMIN_SECONDS)[kafka.topic].result()
        return None
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise TopicError(f"topic {kafka.topic!r} could not be created: {reason_of(error)}") from error
    facts = describe(admin, kafka.topic)
    differences = wanted.differences(facts, allow_create_time=allow_create_time)
    if differences:
        raise TopicError(f"topic {kafka.topic!r} is there, but it has " + "; ".join(differences))
    return facts


def _is_made_by_built_in(kafka: KafkaSettings, admin: Admin) -> bool:
    """Whether the broker is the built-in one. That one makes a topic when a client asks for it by name."""
    try:
        built_in = is_built_in(admin.list_topics(timeout=ADMIN_SECONDS).cluster_id)
        if built_in:
            Admin(kafka.client_config() | {AUTO_CREATION: True}).list_topics(kafka.topic, timeout=ADMIN_SECONDS)
        return built_in
    except KafkaException as error:
        raise admin.unreachable(error) from error
