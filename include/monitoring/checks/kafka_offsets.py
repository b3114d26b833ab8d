"""Reads the group's and the topic's offsets from Kafka.

The caller makes the `AdminClient` and the `Consumer`: from the Kafka provider's hooks inside
Airflow (`connections.py`), directly in tests. The consumer only probes: it assigns partitions,
joins no group and commits nothing, so it does not disturb another consumer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from confluent_kafka import Consumer, ConsumerGroupState, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka import ConsumerGroupTopicPartitions as GroupPartitions
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AdminClient,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from include.ingest.topic import is_built_in
from include.landing.layout import instant
from include.monitoring.checks.lag import PartitionOffsets
from include.reasons import reason_of

TIMEOUT_SECONDS = 10.0
COORDINATOR_ATTEMPTS = 10
COORDINATOR_PAUSE_SECONDS = 0.5
AHEAD_PAUSE_SECONDS = 1.0
_COORDINATOR_MOVES = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
_NOT_KNOWN_TO_THE_BROKER = {KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE}

Response = TypeVar("Response")


class KafkaUnreadableError(RuntimeError):
    """Kafka could not be read; the text names the topic, the fault and the remedy."""


@dataclass(frozen=True, slots=True)
class TopicReading:
    """Everything that one run of the monitor reads from Kafka.

    `members` and `retention` are None when the broker does not report them. `retention` is also
    None for a topic that keeps everything (retention.ms=-1).
    """

    partitions: tuple[PartitionOffsets, ...]
    members: int | None
    group_state: str
    retention: timedelta | None


def read(admin: AdminClient, consumer: Consumer, topic: str, group: str) -> TopicReading:
    """Offsets of all partitions, the group's members, the topic's retention.

    Raises:
        KafkaUnreadableError: the broker does not answer, or there is no such topic.
    """
    try:
        partitions, built_in = _partitions(admin, topic)
        members, state = _from_coordinator(lambda: _members(admin, group))
        offsets = _from_coordinator(lambda: _offsets(admin, topic, group, partitions))
        if any(partition.ahead for partition in offsets):  # a new leader may not know its log's end for a moment
            time.sleep(AHEAD_PAUSE_SECONDS)
            offsets = _from_coordinator(lambda: _offsets(admin, topic, group, partitions))
        unread = {partition.partition: partition.position for partition in offsets if partition.lag}
        times, ends = oldest_records(consumer, topic, unread)
        return TopicReading(
            partitions=tuple(
                replace(
                    partition,
                    oldest_unread_at=times.get(partition.partition),
                    read_to=ends.get(partition.partition),
                )
                for partition in offsets
            ),
            members=members,
            group_state=state,
            retention=None if built_in else _retention(admin, topic),
        )
    except KafkaException as error:
        raise KafkaUnreadableError(
            f"Kafka could not be read (topic {topic}, group {group}): {reason_of(error)} "
            "Check the connection kafka_default and that the brokers answer."
        ) from error


def _partitions(admin: AdminClient, topic: str) -> tuple[list[int], bool]:
    """Numbers of the partitions, and whether the broker is librdkafka's built-in broker, which has no configuration."""
    listed = admin.list_topics(topic, timeout=TIMEOUT_SECONDS)
    metadata = listed.topics[topic]
    if metadata.error is not None:
        raise KafkaUnreadableError(
            f"Kafka has no readable topic {topic}: {reason_of(metadata.error)} "
            "Check KAFKA_TOPIC; if the topic was never created, run: python -m include.ingest create-topic"
        )
    return sorted(metadata.partitions), is_built_in(listed.cluster_id)


def _from_coordinator(ask: Callable[[], Response]) -> Response:
    """Ask the group's coordinator, and ask again while it loads after the start or the end of a broker."""
    for _ in range(COORDINATOR_ATTEMPTS - 1):
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _COORDINATOR_MOVES:
                raise
            time.sleep(COORDINATOR_PAUSE_SECONDS)
    return ask()


def _members(admin: AdminClient, group: str) -> tuple[int | None, str]:
    """Number of members of the group (0 when it does not exist) and its state in words."""
    try:
        described = admin.describe_consumer_groups([group], request_timeout=TIMEOUT_SECONDS)[group].result()
    except KafkaException as error:
        code = error.args[0].code()
        if code in _NOT_KNOWN_TO_THE_BROKER:
            return None, "unknown to this broker"
        if code == KafkaError.GROUP_ID_NOT_FOUND:
            return 0, "does not exist"
        raise
    if described.state == ConsumerGroupState.DEAD:
        return 0, "does not exist"
    return len(described.members), described.state.name.lower()


def _offsets(admin: AdminClient, topic: str, group: str, partitions: Iterable[int]) -> list[PartitionOffsets]:
    places = [TopicPartition(topic, partition) for partition in partitions]
    request = [GroupPartitions(group, places)]
    # The committed offsets are read before the latest, so that the lag of a consumer at the end is never negative.
    future = admin.list_consumer_group_offsets(request, request_timeout=TIMEOUT_SECONDS)[group]
    committed: dict[int, int | None] = {}
    for commit in future.result().topic_partitions:
        if commit.error is not None:
            raise KafkaException(commit.error)
        committed[commit.partition] = commit.offset if commit.offset >= 0 else None
    earliest = _list_offsets(admin, places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    # The last stable offset is read before the latest, so that it is never beyond it.
    stable = _list_offsets(admin, places, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)  # type: ignore[no-untyped-call]
    latest = _list_offsets(admin, places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    return [
        PartitionOffsets(number, earliest[number], latest[number], committed.get(number), stable=stable[number])
        for number in (place.partition for place in places)
    ]


def _list_offsets(
    admin: AdminClient,
    places: list[TopicPartition],
    spec: OffsetSpec,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[int, int]:
    futures = admin.list_offsets(
        dict.fromkeys(places, spec), isolation_level=isolation, request_timeout=TIMEOUT_SECONDS
    )
    return {place.partition: future.result().offset for place, future in futures.items()}


def _retention(admin: AdminClient, topic: str) -> timedelta | None:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        settings: Mapping[str, Any] = admin.describe_configs([resource], request_timeout=TIMEOUT_SECONDS)[
            resource
        ].result()
    except KafkaException as error:
        if error.args[0].code() in _NOT_KNOWN_TO_THE_BROKER:
            return None
        raise
    milliseconds = int(settings["retention.ms"].value)
    return None if milliseconds < 0 else timedelta(milliseconds=milliseconds)


def oldest_records(
    consumer: Consumer, topic: str, positions: Mapping[int, int], seconds: float = TIMEOUT_SECONDS
) -> tuple[dict[int, datetime], dict[int, int]]:
    """Kafka timestamp of the first record at or after each position; and where Kafka's log ends without a record.

    Each partition is in one of the two, unless Kafka did not answer in time or the record has no timestamp. A log ends
    for this consumer at the last stable offset. The function reads one record a partition and closes the consumer.
    """
    times: dict[int, datetime] = {}
    ends: dict[int, int] = {}
    waiting = dict(positions)
    try:
        if waiting:
            consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in waiting.items()])
        deadline = time.monotonic() + seconds
        while waiting and (left := deadline - time.monotonic()) > 0:
            message = consumer.poll(left)
            if message is None:
                break
            fault, partition = message.error(), message.partition()
            if fault is not None and fault.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(fault)
            if partition is None or waiting.pop(partition, None) is None:
                continue
            consumer.pause([TopicPartition(topic, partition)])
            if fault is not None:
                ends[partition] = message.offset() or 0
                continue
            kind, milliseconds = message.timestamp()
            if kind:
                times[partition] = instant(milliseconds)
    finally:
        consumer.close()
    return times, ends


def probe_config(group: str) -> dict[str, str | int | bool]:
    """Settings of the probing consumer in addition to the connection's: small fetches, and no membership.

    librdkafka looks up the coordinator of `group.id` although it never joins or commits. A broker with access rules
    refuses that for a group that the monitor may not describe. It may describe `group`, whose offsets it also reads.
    """
    return {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",  # if retention has deleted the position, the next record counts
        "fetch.max.bytes": 1_000_000,
        "max.partition.fetch.bytes": 65_536,
        "queued.max.messages.kbytes": 1_024,
        "socket.timeout.ms": 10_000,
    }
