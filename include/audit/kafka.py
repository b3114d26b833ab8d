"""Reads a topic's offsets and the group's commits, with the metadata of the commits. It joins no group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from include.audit.manifest import KafkaOffsets
from include.ingest.starting_offset import records_end
from include.reasons import reason_of
from include.settings import KafkaSettings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

SECONDS = 15.0


class KafkaUnreadableError(RuntimeError):
    """Kafka does not answer; the text has the reason and the remedy."""


def read_offsets(admin: AdminClient, kafka: KafkaSettings, topic_id: str | None) -> dict[int, KafkaOffsets]:
    """Begin, end and commit of each partition.

    Raises:
        KafkaUnreadableError: Kafka does not answer, or there is no such topic.
    """
    try:
        return _read(admin, kafka, topic_id)
    except KafkaException as error:
        raise KafkaUnreadableError(
            f"the offsets of topic {kafka.topic!r} and group {kafka.group!r} could not be read: {reason_of(error)} "
            "Without Kafka the bucket can still be audited: --without-kafka"
        ) from error


def _read(admin: AdminClient, kafka: KafkaSettings, topic_id: str | None) -> dict[int, KafkaOffsets]:
    topic = admin.list_topics(timeout=SECONDS).topics.get(kafka.topic)
    if topic is None or topic.error is not None:
        raise KafkaUnreadableError(
            f"topic {kafka.topic!r} is not there, or this user may not describe it: check KAFKA_TOPIC"
        )
    places = [TopicPartition(kafka.topic, number) for number in sorted(topic.partitions)]
    request = [ConsumerGroupTopicPartitions(kafka.group, places)]
    # The commits are read before the ends, so that none is beyond its end.
    group = admin.list_consumer_group_offsets(request, request_timeout=SECONDS)[kafka.group].result()
    for commit in group.topic_partitions:
        if commit.error is not None:
            raise KafkaException(commit.error)
    commits = {commit.partition: commit for commit in group.topic_partitions}
    begins = _bounds(admin, places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    ends = _bounds(admin, places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    return {number: _offsets(begins[number], ends[number], commits.get(number), topic_id) for number in begins}


def _offsets(begin: int, end: int, commit: TopicPartition | None, topic_id: str | None) -> KafkaOffsets:
    if commit is None or commit.offset < 0:
        return KafkaOffsets(begin, end, None)
    return KafkaOffsets(begin, end, commit.offset, records_end(commit.metadata, topic_id) if topic_id else None)


def _bounds(admin: AdminClient, places: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
    answers = admin.list_offsets(dict.fromkeys(places, spec), request_timeout=SECONDS)
    return {place.partition: answer.result().offset for place, answer in answers.items()}
