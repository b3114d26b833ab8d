"""Records of every kind on real Kafka: one record never stops more than itself, and what is no record is no loss."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from include.ingest.commits import read_commits
from include.ingest.starting_offset import commit_metadata
from tests.chaos import fuzz, wire
from tests.chaos.checker import Acknowledged, check
from tests.chaos.rig import quote, wait_until_committed
from tests.integration.ingest.stage import PARTITIONS, Stage, ingest, log_ends, object_count, s3_client, until

pytestmark = pytest.mark.servers

GOOD = quote(1)


def bodies(stage: Stage, prefix: str) -> list[dict[str, Any]]:
    """The rows of all objects under a prefix."""
    listed = s3_client().list_objects_v2(Bucket=stage.bucket, Prefix=prefix).get("Contents", [])
    read = (s3_client().get_object(Bucket=stage.bucket, Key=entry["Key"])["Body"].read() for entry in listed)
    return [row for body in read for row in json.loads(body)]


def committed(stage: Stage) -> dict[int, TopicPartition]:
    reader = KafkaConsumer({"bootstrap.servers": stage.bootstrap, "group.id": stage.group})
    commits = read_commits(reader, [TopicPartition(stage.topic, number) for number in range(PARTITIONS)], 20)
    reader.close()
    return {commit.partition: commit for commit in commits}


def all_committed(stage: Stage) -> dict[int, int]:
    return wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120)


class Transactions:
    """A transactional producer that writes to partition 0."""

    def __init__(self, stage: Stage) -> None:
        self._topic = stage.topic
        self._producer = Producer({"bootstrap.servers": stage.bootstrap, "transactional.id": stage.topic})
        self._producer.init_transactions(60)

    def send(self, *values: bytes, commit: bool = True) -> None:
        self.begin(*values)
        if commit:
            self._producer.commit_transaction(60)
        else:
            self.abort()

    def begin(self, *values: bytes) -> None:
        self._producer.begin_transaction()
        for value in values:
            self._producer.produce(self._topic, value, partition=0)
        self._producer.flush(60)

    def abort(self) -> None:
        self._producer.abort_transaction(60)


def test_a_header_name_that_is_not_utf8_costs_only_the_headers(stage: Stage) -> None:
    headers = ((b"\xff\xfe", b"v"), (b"trace", b"1"))
    records = [wire.RawRecord(b"no quote", b"key", headers), wire.RawRecord(GOOD, b"BTC", headers)]
    wire.produce(stage.bootstrap, stage.topic, 0, records)
    load = stage.load(20, bad_share=0.2)
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    assert all_committed(stage) == {}
    assert consumer.terminate() == 0
    rows = {(row["_partition"], row["_offset"]): row for row in bodies(stage, "dead_letter/")}
    row = rows[0, 0]
    assert (base64.b64decode(row["payload"]), base64.b64decode(row["key"]), row["headers"]) == (b"no quote", b"key", [])
    assert "headers not readable, so not kept" in row["error"]
    assert "\\xff\\xfe" in row["error"]
    landed = {(row["_partition"], row["_offset"]) for row in bodies(stage, "crypto_data/2")}
    assert (0, 1) in landed
    assert len(landed) + len(rows) == 2 + len(load.acknowledged)


def test_a_replay_searches_beyond_a_header_name_that_is_not_utf8(stage: Stage) -> None:
    headers = ((b"\xff", b"v"),)
    wire.produce(stage.bootstrap, stage.topic, 0, [wire.RawRecord(b"no quote", None, headers)])
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    assert all_committed(stage) == {}
    assert consumer.terminate() == 0
    marker = {
        "letter": f"{stage.topic}/0/0", "log_ends": dict.fromkeys(range(PARTITIONS), 0),
        "claimed_at": "2026-11-01T00:00:00Z",
    }  # fmt: skip
    key = "state/replayed/p00000_o00000000000000000000.json"
    s3_client().put_object(Bucket=stage.bucket, Key=key, Body=json.dumps(marker).encode())
    command = ingest(stage, "replay", "--yes")
    assert (command.returncode, "1 sent, 0 were" in command.stderr) == (0, True), command.stderr


def test_markers_and_aborted_records_are_no_dead_letters_and_no_lag(stage: Stage) -> None:
    transactions = Transactions(stage)
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.3")
    for number in range(3):  # each transaction is a batch of its own
        transactions.send(quote(2 * number), quote(2 * number + 1))
        until(lambda: object_count(stage) == number + 1, "the transaction has landed")  # noqa: B023
    transactions.send(b"never seen", commit=False)
    assert all_committed(stage) == {}
    assert committed(stage)[0].metadata.endswith(" records-end=8")  # type: ignore[union-attr]
    assert consumer.terminate() == 0
    assert object_count(stage, "dead_letter/") == 0
    last = json.loads(consumer.log.read_text().splitlines()[-1])
    assert (last["messages"], last["rejected"]) == (6, {})
    seen, ends = fuzz.visible(stage.bootstrap, stage.topic, PARTITIONS)
    assert ends[0] == 11
    known = [Acknowledged(*place, 0, b"{}", True) for place in seen]  # only the places are compared
    errors = check(s3_client(), stage.bucket, known, fuzz.holes(seen, ends)).errors
    assert [error for error in errors if "landed with time" not in error and "changed" not in error] == []


def test_retention_up_to_a_trailing_marker_is_no_loss(stage: Stage) -> None:
    transactions = Transactions(stage)
    transactions.send(GOOD, GOOD)
    first = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.3")
    assert all_committed(stage) == {}
    assert first.terminate() == 0
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    for answer in admin.delete_records([TopicPartition(stage.topic, 0, 3)]).values():
        assert answer.result().low_watermark == 3
    second = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.3")
    transactions.send(GOOD)
    assert all_committed(stage) == {}
    assert second.terminate() == 0
    assert "partition stopped" not in stage.log()
    assert [row["_offset"] for row in bodies(stage, "crypto_data/2")] == [0, 1, 3]
    assert [row.get("_hole", 0) for row in bodies(stage, "crypto_data/2")] == [0, 0, 1]
    assert "nothing changed" in ingest(stage, "adopt").stderr


def test_an_open_transaction_holds_back_its_partition_until_it_ends(stage: Stage) -> None:
    transactions = Transactions(stage)
    transactions.send(GOOD)
    transactions.begin(b"open")
    producer = Producer({"bootstrap.servers": stage.bootstrap})
    producer.produce(stage.topic, GOOD, partition=0)
    producer.flush()
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.3")
    until(lambda: committed(stage)[0].offset == 2, "all before the transaction is landed")
    transactions.abort()
    until(lambda: committed(stage)[0].offset == 5, "the record after it is landed")
    assert consumer.terminate() == 0
    assert [(row["_offset"], row.get("_hole", 0)) for row in bodies(stage, "crypto_data/2")] == [(0, 0), (3, 2)]


def test_a_commit_set_by_hand_stops_its_partition_and_nothing_is_lost(stage: Stage) -> None:
    loads = [stage.load(200)]
    first = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.3")
    assert all_committed(stage) == {}
    assert first.terminate() == 0
    end = log_ends(stage)[0]
    before = committed(stage)[0]
    topic_id = str(before.metadata).split()[1]
    by_hand = KafkaConsumer({"bootstrap.servers": stage.bootstrap, "group.id": stage.group})
    place = TopicPartition(stage.topic, 0, end + 20, commit_metadata(topic_id))
    by_hand.commit(offsets=[place], asynchronous=False)
    by_hand.close()
    loads.append(stage.load(400))  # the log passes the commit
    second = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.3")
    until(lambda: "partition stopped" in second.log.read_text(), "the partition stopped")
    until(lambda: set(wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 0)) == {0}, "others")
    assert second.terminate() == 3
    (reason,) = {
        line["reason"] for line in map(json.loads, second.log.read_text().splitlines())
        if line["message"] == "partition stopped"
    }  # fmt: skip
    assert f"offsets {end} to {end + 19} were never landed" in reason
    assert "python -m include.ingest adopt --partition 0" in reason
    assert "1 partitions adopted" in ingest(stage, "adopt", "--partition", "0", "--yes").stderr
    third = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.3")
    assert all_committed(stage) == {}
    assert third.terminate() == 0
    acknowledged = [message for load in loads for message in load.acknowledged]
    assert check(s3_client(), stage.bucket, acknowledged).errors == []


@pytest.mark.parametrize("time_type", ["LogAppendTime", "CreateTime"])
def test_every_message_of_a_fuzz_is_landed_or_a_dead_letter(stage: Stage, time_type: str) -> None:
    resource = ConfigResource(
        ResourceType.TOPIC, stage.topic,
        incremental_configs=[
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in {
                "message.timestamp.type": time_type, "message.timestamp.after.max.ms": str(2**63 - 1),
            }.items()
        ],
    )  # fmt: skip
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    admin.incremental_alter_configs([resource])[resource].result()
    messages = fuzz.Fuzz(stage.bootstrap, stage.topic, PARTITIONS, 1, own_times=time_type == "CreateTime")
    settings = {"CONSUMER_BATCH_AGE_SECONDS": "0.5", "CONSUMER_ALLOW_CREATE_TIME": "true"}
    consumer = stage.consumer(**settings)
    messages.send(200)
    messages.hang(5)
    messages.send(200)
    consumer.kill()
    consumer = stage.consumer(**settings)
    messages.send(100)
    assert all_committed(stage) == {}
    assert consumer.running
    assert consumer.terminate() == 0
    seen, ends = fuzz.visible(stage.bootstrap, stage.topic, PARTITIONS)
    verdict = check(s3_client(), stage.bucket, messages.acknowledged, fuzz.holes(seen, ends))
    assert verdict.errors == []
    assert seen == {(message.partition, message.offset) for message in messages.acknowledged}
    assert verdict.landed > 100
    assert verdict.dead > 50
