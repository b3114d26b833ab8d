"""Members, compression, batch size or the group's positions change while data flows: nothing is lost or doubled."""

from __future__ import annotations

import json
from threading import Thread
from typing import Any

import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from include.ingest import consumer
from include.ingest.factory import build_consumer
from include.ingest.metrics import ConsumerMetrics
from include.ingest.shutdown import Deadline
from include.ingest.store import open_store
from include.settings import load as load_settings
from tests.chaos.rig import ConsumerProcess, wait_until_committed
from tests.integration.ingest.stage import (
    PARTITIONS,
    Stage,
    ingest,
    object_count,
    refusal,
    s3_client,
    until,
    verdict,
)

pytestmark = pytest.mark.servers


def land(stage: Stage, **changes: str) -> None:
    """Run a consumer until everything is committed."""
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5", **changes)
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert consumer.terminate() == 0


def events(consumer: ConsumerProcess, name: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in consumer.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if line["message"] == name]


def held(consumer: ConsumerProcess) -> int:
    """Number of partitions that the consumer has now."""
    return sum(len(event["partitions"]) for event in events(consumer, "assigned")) - sum(
        len(event["partitions"]) for event in events(consumer, "revoked")
    )


def test_a_static_member_returns_without_a_rebalance(stage: Stage) -> None:
    session = {"KAFKA_OPTIONS": '{"session.timeout.ms": 120000, "heartbeat.interval.ms": 500, "log_level": 3}'}
    first = stage.consumer(CONSUMER_GROUP_INSTANCE_ID="a", CONSUMER_BATCH_AGE_SECONDS="0.5", **session)
    second = stage.consumer(CONSUMER_GROUP_INSTANCE_ID="b", CONSUMER_BATCH_AGE_SECONDS="0.5", **session)
    until(lambda: held(first) == held(second) == PARTITIONS // 2, "both have their share")
    before = [len(events(second, name)) for name in ("assigned", "revoked", "lost")]
    loads = [stage.load(300)]
    assert first.terminate() == 0
    loads.append(stage.load(300))
    again = stage.consumer(CONSUMER_GROUP_INSTANCE_ID="a", CONSUMER_BATCH_AGE_SECONDS="0.5", **session)
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert [len(events(second, name)) for name in ("assigned", "revoked", "lost")] == before
    assert held(again) == PARTITIONS // 2
    assert [again.terminate(), second.terminate()] == [0, 0]
    assert verdict(stage, *loads).errors == []


def test_gzip_loses_nothing_after_a_kill(stage: Stage) -> None:
    loads = [stage.load(700, bad_share=0.05)]
    killed = stage.consumer(CONSUMER_COMPRESSION="gzip", CONSUMER_BATCH_AGE_SECONDS="0.3", CONSUMER_BATCH_RECORDS="30")
    until(lambda: object_count(stage) > 0, "a first batch")
    killed.kill()
    loads.append(stage.load(300, bad_share=0.05))
    land(stage, CONSUMER_COMPRESSION="gzip", CONSUMER_BATCH_RECORDS="30")
    result = verdict(stage, *loads)
    assert result.errors == []
    assert result.dead > 10
    for prefix, content in (("crypto_data/2", "application/gzip"), ("dead_letter/2", "application/gzip")):
        for entry in s3_client().list_objects_v2(Bucket=stage.bucket, Prefix=prefix)["Contents"]:
            assert entry["Key"].endswith(".json.gz")
            head = s3_client().head_object(Bucket=stage.bucket, Key=entry["Key"])
            assert (head["ContentType"], head.get("ContentEncoding")) == (content, None)


def test_cells_can_be_resized_between_two_consumers(stage: Stage) -> None:
    loads = [stage.load(730, bad_share=0.05)]
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5", CONSUMER_BATCH_RECORDS="40")
    until(lambda: object_count(stage) > 0, "a first batch")
    busy = ingest(stage, "resize-cells", "90", "--yes")
    assert "has 1 members" in refusal(busy)
    consumer.kill()
    until(lambda: ingest(stage, "resize-cells", "90", "--yes").returncode == 0, "the killed member's session ends", 40)
    assert "resize-cells" in refusal(ingest(stage, "consume", CONSUMER_BATCH_RECORDS="91"))
    loads.append(stage.load(1500, bad_share=0.05))
    land(stage, CONSUMER_BATCH_RECORDS="90")
    loads.append(stage.load(200))
    land(stage, CONSUMER_BATCH_RECORDS="20")
    assert verdict(stage, *loads).errors == []
    records = [
        int(s3_client().head_object(Bucket=stage.bucket, Key=entry["Key"])["Metadata"]["records"])
        for entry in s3_client().list_objects_v2(Bucket=stage.bucket, Prefix="crypto_data/2")["Contents"]
    ]
    assert max(records) > 40


def test_positions_reset_by_another_client_are_refused_then_adopted(stage: Stage) -> None:
    loads = [stage.load(500, bad_share=0.05)]
    land(stage)
    loads.append(stage.load(300, bad_share=0.05))
    other = KafkaConsumer({"bootstrap.servers": stage.bootstrap, "group.id": stage.group})
    old_offsets = [
        TopicPartition(stage.topic, 0, 10),
        TopicPartition(stage.topic, 1, 120),
        TopicPartition(stage.topic, 2, 190),
    ]
    other.commit(offsets=old_offsets, asynchronous=False)
    other.close()
    assert "adopt" in refusal(ingest(stage, "consume"))
    assert "landed already" in refusal(ingest(stage, "adopt", "--partition", "0", "--offset", "10", "--yes"))
    assert f"{PARTITIONS} partitions adopted" in ingest(stage, "adopt", "--yes").stderr
    land(stage)
    assert verdict(stage, *loads).errors == []


def test_a_group_with_expired_commits_continues_from_landed_files(stage: Stage) -> None:
    loads = [stage.load(500, bad_share=0.05)]
    land(stage, CONSUMER_BATCH_RECORDS="20")
    for entry in s3_client().list_objects_v2(Bucket=stage.bucket)["Contents"]:
        if "_p00000_o00000000000000000000" in entry["Key"]:  # as if its PUT had never succeeded
            s3_client().delete_object(Bucket=stage.bucket, Key=entry["Key"])
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    admin.delete_consumer_groups([stage.group])[stage.group].result(20)
    loads.append(stage.load(300, bad_share=0.05))
    land(stage, CONSUMER_BATCH_RECORDS="20")
    assert verdict(stage, *loads).errors == []


def test_a_consumer_without_a_writer_for_an_assigned_partition_joins_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (stage.environment | {"CONSUMER_BATCH_AGE_SECONDS": "0.5"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(consumer, "PROGRESS_SECONDS", 1.0)
    settings = load_settings()
    store = open_store(settings.storage, settings.aws)
    member = build_consumer(settings, store, store, ConsumerMetrics(), Deadline(20, print, print))
    thread = Thread(target=member.run, daemon=True)
    thread.start()
    loads = [stage.load(400)]
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    member._writers = {number: writer for number, writer in member._writers.items() if number > 0}  # 0 has no writer
    loads.append(stage.load(400))
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    member.stop()
    thread.join(60)
    assert consumer.ASSIGNMENT_DIFFERS in capsys.readouterr().out
    assert verdict(stage, *loads).errors == []
