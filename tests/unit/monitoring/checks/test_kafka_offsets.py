"""Reading offsets from a real broker."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without __all__

from include.monitoring.checks import kafka_offsets
from include.monitoring.checks.kafka_offsets import KafkaUnreadableError, TopicReading, probe_config
from tests.chaos import wire
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


def probe(bootstrap: str, group: str) -> Consumer:
    return Consumer({"bootstrap.servers": bootstrap} | probe_config(group))


def read(bootstrap: str, topic: str, group: str) -> TopicReading:
    return kafka_offsets.read(AdminClient({"bootstrap.servers": bootstrap}), probe(bootstrap, group), topic, group)


def produce(bootstrap: str, topic: str, counts: dict[int, int]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition, count in counts.items():
        for number in range(count):
            producer.produce(topic, str(number).encode(), partition=partition)
    assert producer.flush(20) == 0


@contextlib.contextmanager
def member(bootstrap: str, topic: str, group: str) -> Iterator[Consumer]:
    config = {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False}
    consumer = Consumer(config | {"auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    while not consumer.assignment():
        consumer.poll(0.2)
    try:
        yield consumer
    finally:
        consumer.close()


@pytest.fixture
def three_partitions(kafka_server: KafkaServer, topic: str) -> str:
    admin = AdminClient({"bootstrap.servers": kafka_server.bootstrap})
    settings = {"message.timestamp.type": "LogAppendTime", "retention.ms": "3600000"}
    admin.create_topics([NewTopic(topic, num_partitions=3, config=settings)])[topic].result()
    return topic


def test_a_group_without_commits_counts_from_the_earliest_offset(
    kafka_bootstrap: str, three_partitions: str, group: str
) -> None:
    produce(kafka_bootstrap, three_partitions, {0: 5, 2: 7})
    reading = read(kafka_bootstrap, three_partitions, group)
    assert [partition.lag for partition in reading.partitions] == [5, 0, 7]
    assert [partition.committed for partition in reading.partitions] == [None, None, None]
    assert (reading.members, reading.group_state, reading.retention) == (0, "does not exist", timedelta(hours=1))
    ages = [partition.oldest_unread_at for partition in reading.partitions]
    assert ages[1] is None
    assert all(moment and abs(moment - datetime.now(UTC)) < timedelta(minutes=1) for moment in (ages[0], ages[2]))


def test_commits_and_members(kafka_bootstrap: str, three_partitions: str, group: str) -> None:
    produce(kafka_bootstrap, three_partitions, {0: 5, 1: 4})
    with member(kafka_bootstrap, three_partitions, group) as consumer:
        offsets = [TopicPartition(three_partitions, 0, 3), TopicPartition(three_partitions, 1, 4)]
        consumer.commit(offsets=offsets, asynchronous=False)
        reading = read(kafka_bootstrap, three_partitions, group)
        assert [partition.committed for partition in reading.partitions] == [3, 4, None]
        assert [partition.lag for partition in reading.partitions] == [2, 0, 0]
        assert reading.members == 1
    assert read(kafka_bootstrap, three_partitions, group).members == 0


def test_the_probe_neither_joins_nor_commits(kafka_bootstrap: str, three_partitions: str, group: str) -> None:
    produce(kafka_bootstrap, three_partitions, {0: 5})
    read(kafka_bootstrap, three_partitions, group)
    second = read(kafka_bootstrap, three_partitions, group)
    assert [partition.committed for partition in second.partitions] == [None, None, None]
    assert (second.members, second.group_state) == (0, "does not exist")
    with member(kafka_bootstrap, three_partitions, group) as consumer:
        before = consumer.assignment()
        assert read(kafka_bootstrap, three_partitions, group).members == 1
        consumer.poll(1)
        assert consumer.assignment() == before  # the probe caused no rebalance


def test_records_that_were_deleted_unread_are_lost_and_not_lag(
    kafka_bootstrap: str, three_partitions: str, group: str
) -> None:
    produce(kafka_bootstrap, three_partitions, {0: 10})
    with member(kafka_bootstrap, three_partitions, group) as consumer:
        consumer.commit(offsets=[TopicPartition(three_partitions, 0, 2)], asynchronous=False)
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    for future in admin.delete_records([TopicPartition(three_partitions, 0, 6)]).values():
        future.result()
    partition = read(kafka_bootstrap, three_partitions, group).partitions[0]
    assert (partition.position, partition.lag, partition.lost) == (6, 4, 4)
    assert partition.oldest_unread_at is not None


def transactional(bootstrap: str) -> Producer:
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(60)
    return producer


def send(producer: Producer, topic: str, count: int) -> None:
    producer.begin_transaction()
    for number in range(count):
        producer.produce(topic, str(number).encode(), partition=0)
    assert producer.flush(20) == 0


def test_markers_and_aborted_records_are_not_unread(kafka_bootstrap: str, three_partitions: str, group: str) -> None:
    producer = transactional(kafka_bootstrap)
    send(producer, three_partitions, 3)
    producer.commit_transaction()
    send(producer, three_partitions, 2)
    producer.abort_transaction()
    with member(kafka_bootstrap, three_partitions, group) as consumer:
        consumer.commit(offsets=[TopicPartition(three_partitions, 0, 3)], asynchronous=False)
    partition = read(kafka_bootstrap, three_partitions, group).partitions[0]
    assert (partition.latest, partition.lag, partition.oldest_unread_at) == (7, 0, None)


def test_an_open_transaction_holds_its_records_back(kafka_bootstrap: str, three_partitions: str, group: str) -> None:
    producer = transactional(kafka_bootstrap)
    send(producer, three_partitions, 2)
    partition = read(kafka_bootstrap, three_partitions, group).partitions[0]
    assert (partition.stable, partition.latest, partition.lag, partition.held_back) == (0, 2, 2, True)
    producer.abort_transaction()
    partition = read(kafka_bootstrap, three_partitions, group).partitions[0]
    assert (partition.lag, partition.held_back) == (0, False)


def test_a_commit_beyond_the_logs_end_is_seen(kafka_bootstrap: str, three_partitions: str, group: str) -> None:
    produce(kafka_bootstrap, three_partitions, {0: 5})
    with member(kafka_bootstrap, three_partitions, group) as consumer:
        consumer.commit(offsets=[TopicPartition(three_partitions, 0, 9)], asynchronous=False)
    assert read(kafka_bootstrap, three_partitions, group).partitions[0].ahead == 4


@pytest.mark.parametrize("milliseconds", [-(10**15), -1, 0, 253_402_300_800_000, 2**63 - 1])
def test_a_record_may_have_any_timestamp(kafka_bootstrap: str, topic: str, group: str, milliseconds: int) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    settings = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(2**63 - 1)}
    admin.create_topics([NewTopic(topic, num_partitions=1, config=settings)])[topic].result()
    wire.produce(kafka_bootstrap, topic, 0, [wire.RawRecord(b"value")], milliseconds)
    (partition,) = read(kafka_bootstrap, topic, group).partitions
    moment = partition.oldest_unread_at
    assert partition.lag == 1
    assert moment is None or moment.year in {1970, 2026, 9999}


def test_a_missing_topic_is_an_error_that_names_it(kafka_bootstrap: str, group: str) -> None:
    with pytest.raises(KafkaUnreadableError, match=r"no readable topic nowhere.*ingest create-topic"):
        read(kafka_bootstrap, "nowhere", group)


def test_the_built_in_broker_reports_lag_without_members_and_retention(topic: str, group: str) -> None:
    broker = Producer({"bootstrap.servers": "unused:1", "test.mock.num.brokers": 1, "log_level": 0})
    (address,) = (f"{node.host}:{node.port}" for node in broker.list_topics(timeout=10).brokers.values())
    produce(address, topic, {0: 5})
    committer = Consumer({"bootstrap.servers": address, "group.id": group})  # no member: joining takes 3 s there
    committer.commit(offsets=[TopicPartition(topic, 0, 3)], asynchronous=False)
    reading = read(address, topic, group)
    committer.close()
    assert sum(partition.lag for partition in reading.partitions) == 2
    assert (reading.members, reading.group_state, reading.retention) == (None, "unknown to this broker", None)


def test_a_missing_broker_is_an_error_and_not_zero(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_offsets, "TIMEOUT_SECONDS", 0.5)
    admin = AdminClient({"bootstrap.servers": "127.0.0.1:1", "socket.timeout.ms": 1000, "log_level": 0})
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0} | probe_config(group))
    with pytest.raises(KafkaUnreadableError, match="Check the connection kafka_default") as caught:
        kafka_offsets.read(admin, consumer, "quotes", group)
    assert isinstance(caught.value.__cause__, KafkaException)
    consumer.close()
