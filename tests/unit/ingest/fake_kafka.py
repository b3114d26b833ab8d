"""A fake Kafka for the consumer's tests: a test cannot make a real broker load its groups or refuse a commit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from include.ingest import topic
from include.ingest.starting_offset import commit_metadata

TOPIC = "crypto-quotes"
VALUE = b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":64123.12,"last_updated":"2026-11-23T20:15:07Z"}'
TOPIC_ID = "id"
LOADS = KafkaException(KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS))
NO_LEADER = KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))


def places(*partitions: int) -> list[TopicPartition]:
    return [TopicPartition(TOPIC, partition) for partition in partitions]


def quotes(partition: int, *offsets: int) -> list[Message]:
    return [
        Message(topic=TOPIC, partition=partition, offset=at, value=VALUE, timestamp=(2, 0), leader_epoch=1)
        for at in offsets
    ]


def offset_error(partition: int, code: int = KafkaError.OFFSET_OUT_OF_RANGE) -> Message:
    """The error event that an offset of the partition is not in the log."""
    return Message(topic=TOPIC, partition=partition, error=KafkaError(code))


class Time:
    """A monotonic clock that a test can also set forward."""

    def __init__(self) -> None:
        self._passed = 0.0

    def __call__(self) -> float:
        return monotonic() + self._passed

    def passes(self, seconds: float) -> None:
        self._passed += seconds


class Admin:
    """`topic.Admin` of one topic; the next requests raise `failures`."""

    def __init__(self) -> None:
        self.exists = True
        self.topic_id = TOPIC_ID
        self.failures: list[KafkaException] = []
        self.requests = 0
        self.ends: dict[int, int] = {}
        self.looks = 0

    def list_offsets(self, places: dict[TopicPartition, object], request_timeout: float) -> dict[TopicPartition, Any]:
        """The ends that are known; the other partitions have no answer."""
        self.looks += 1

        def result(partition: int) -> SimpleNamespace:
            if not self.exists or partition not in self.ends:
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            return SimpleNamespace(offset=self.ends[partition])

        return {at: MagicMock(result=partial(result, at.partition)) for at in places}

    def list_topics(self, timeout: float) -> SimpleNamespace:
        self.requests += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.topics()

    def topics(self) -> SimpleNamespace:
        partitions = dict.fromkeys(range(4), SimpleNamespace(replicas=[1]))
        described = SimpleNamespace(error=None, partitions=partitions)
        return SimpleNamespace(cluster_id="cluster", topics={TOPIC: described} if self.exists else {})

    def unreachable(self, error: KafkaException) -> topic.UnreachableError:
        return topic.UnreachableError(f"Kafka is away: {error}")

    def describe_topics(self, _topics: object, request_timeout: float) -> dict[str, Any]:
        return {TOPIC: MagicMock(result=lambda: SimpleNamespace(topic_id=self.topic_id))}

    def describe_configs(self, resources: list[Any], request_timeout: float) -> dict[Any, Any]:
        entries = {name: SimpleNamespace(value=value) for name, value in topic.TOPIC_CONFIG.items()}
        return {resources[0]: MagicMock(result=lambda: entries)}


class Onlooker:
    """The same admin client as `LogEnds` uses it: these requests neither count nor fail with those of the contract."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self.list_offsets = admin.list_offsets

    def list_topics(self, timeout: float) -> SimpleNamespace:
        return self._admin.topics()


class Group:
    """The consumer group as a client sees it: commits, assignments, and the messages of each poll."""

    def __init__(self) -> None:
        self.commits: dict[int, TopicPartition] = {}
        self.failures: list[Exception] = []  # raised by the next requests for commits
        self.poll: Callable[[], list[Message]] = list
        self.clients: list[MagicMock] = []
        self.callbacks: dict[str, Any] = {}
        self.paused: set[int] = set()  # librdkafka keeps these flags when partitions move
        self.commit_errors: list[KafkaError] = []  # of the next asynchronous commits
        self._answers: list[tuple[KafkaError | None, list[TopicPartition]]] = []
        self._assigned: dict[int, TopicPartition] = {}

    @property
    def kafka(self) -> MagicMock:
        """The client in use."""
        return self.clients[-1]

    @property
    def offsets(self) -> dict[int, int]:
        """The committed offset of each partition."""
        return {number: commit.offset for number, commit in self.commits.items()}

    def has_committed(self, offsets: dict[int, int]) -> None:
        metadata = commit_metadata(TOPIC_ID)
        self.commits |= {number: TopicPartition(TOPIC, number, at, metadata) for number, at in offsets.items()}

    def connect(self, callbacks: dict[str, Any]) -> MagicMock:
        client = MagicMock()
        client.committed.side_effect = self._committed
        client.commit.side_effect = self._commit
        client.consume.side_effect = self._consume
        client.get_watermark_offsets.return_value = (0, 1000)
        client.position.side_effect = lambda at: [TopicPartition(TOPIC, place.partition, -1001) for place in at]
        client.pause.side_effect = lambda at: self.paused.update(place.partition for place in at)
        client.resume.side_effect = lambda at: self.paused.difference_update(place.partition for place in at)
        client.incremental_assign.side_effect = self._take
        client.assignment.side_effect = lambda: list(self._assigned.values())
        client.subscribe.side_effect = lambda _, **rebalance: self.callbacks.update(rebalance)
        self.callbacks = dict(callbacks)
        self._assigned = {}
        self.clients.append(client)
        return client

    def assign(self, *partitions: int) -> list[Message]:
        """As librdkafka does inside a poll."""
        self.callbacks["on_assign"](self.kafka, places(*partitions))
        return []

    def revoke(self, *partitions: int) -> list[Message]:
        return self._take_away("on_revoke", partitions)

    def lose(self, *partitions: int) -> list[Message]:
        return self._take_away("on_lost", partitions)

    def _take(self, starts: list[TopicPartition]) -> None:
        self._assigned |= {start.partition: start for start in starts}

    def _take_away(self, callback: str, partitions: tuple[int, ...]) -> list[Message]:
        for number in partitions:
            self._assigned.pop(number, None)
        self.callbacks[callback](self.kafka, places(*partitions))
        return []

    def _committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self.failures:
            raise self.failures.pop(0)
        return [self.commits.get(at.partition, at) for at in partitions]

    def _commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        error = self.commit_errors.pop(0) if asynchronous and self.commit_errors else None
        if error is None:
            self.commits |= {at.partition: at for at in offsets}
        if asynchronous:
            self._answers.append((error, offsets))
        return offsets

    def _consume(self, *_: object) -> list[Message]:
        self.answer_commits()
        return self.poll()

    def answer_commits(self) -> None:
        """As librdkafka does inside a poll."""
        answers, self._answers = self._answers, []
        for error, offsets in answers:
            self.callbacks["on_commit"](error, offsets)
