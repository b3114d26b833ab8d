"""The consumer against real Kafka and a real S3 API."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from time import sleep
from typing import Any

import httpx
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

from include.ingest.topic import ensure_topic
from include.landing.layout import object_key
from include.local import broker
from include.settings import KafkaSettings
from tests.chaos.checker import check
from tests.chaos.proxy import FaultProxy, Weather
from tests.chaos.rig import wait_until_committed
from tests.integration.ingest.stage import (
    PARTITIONS,
    Stage,
    ingest,
    log_ends,
    object_count,
    refusal,
    s3_client,
    until,
    verdict,
)
from tests.servers import free_port, process

pytestmark = pytest.mark.servers


def test_sigterm_lands_all_records_read_and_logs_it(stage: Stage) -> None:
    load, http = stage.load(800, bad_share=0.05), free_port()
    consumer = stage.consumer(CONSUMER_HTTP_PORT=str(http))
    until(lambda: stage.log().count("placed without a commit") == PARTITIONS, "all partitions placed")
    until(lambda: object_count(stage) == 8 and _buffered(http) == 0, "the full batches")
    for _ in range(PARTITIONS):  # one more record each, which stays in an open batch
        before = _buffered(http)
        load.send_one()
        load.finish()
        until(lambda: _buffered(http) > before, "the record is read")  # noqa: B023 - called at once
    assert consumer.terminate() == 0
    result = verdict(stage, load)
    assert result.errors == []
    assert result.landed + result.dead == 804
    assert result.dead > 10
    last = json.loads(stage.log().splitlines()[-1])
    assert (last["message"], last["everything_landed"], last["messages"]) == ("stopped", True, 804)


def test_kill_and_restart_go_on_without_loss_or_doubles(stage: Stage) -> None:
    loads = [stage.load(700)]
    for age in ("0.3", "0.5", "60"):
        consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS=age, CONSUMER_BATCH_RECORDS="50")
        until(lambda: object_count(stage) > 0, "a first batch")
        loads.append(stage.load(333, bad_share=0.1))
        sleep(1)
        consumer.kill()
    last = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.3", CONSUMER_BATCH_RECORDS="50")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert last.terminate() == 0
    assert verdict(stage, *loads).errors == []


def test_two_consumers_share_and_hand_over(stage: Stage) -> None:
    first = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="1")
    loads = [stage.load(500)]
    until(lambda: object_count(stage) > 0, "a first batch")
    second = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="1")
    until(lambda: second.log.exists() and '"assigned"' in second.log.read_text(), "a rebalance")
    loads.append(stage.load(500))
    assert first.terminate() == 0
    loads.append(stage.load(500))
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert second.terminate() == 0
    assert '"revoked"' in first.log.read_text()
    assert verdict(stage, *loads).errors == []


def test_an_s3_outage_pauses_reading_bounds_memory_and_loses_nothing(stage: Stage) -> None:
    host, port = stage.endpoint.removeprefix("http://").split(":")
    proxy, http = FaultProxy((host, int(port)), 1), free_port()
    try:
        consumer = stage.consumer(
            AWS_ENDPOINT_URL=proxy.endpoint, CONSUMER_MAX_BUFFER_BYTES=str(2**20), CONSUMER_BATCH_AGE_SECONDS="1",
            CONSUMER_HTTP_PORT=str(http),
        )  # fmt: skip
        loads = [stage.load(100)]
        until(lambda: object_count(stage) > 0, "a first batch")
        proxy.weather = Weather(outage=True)
        loads.append(stage.load(20_000))
        until(lambda: _health(http, "").status_code == 503, "not ready")
        until(lambda: "paused" in consumer.log.read_text(), "paused")
        assert _health(http, "/live").status_code == 200
        assert "S3 has failed" in " ".join(_health(http, "").json()["problems"])
        assert 0 < _buffered(http) <= 2**20
        proxy.weather = Weather()
        assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 60) == {}
        until(lambda: _health(http, "").status_code == 200, "ready again")
        assert consumer.terminate() == 0
    finally:
        proxy.close()
    assert verdict(stage, *loads).errors == []


def test_a_kafka_outage_is_reported_and_loses_nothing(topic: str, bucket: str, s3: str, tmp_path: Path) -> None:
    port, http = free_port(), free_port()
    command = [sys.executable, "-m", "include.local.broker", "--state", str(tmp_path), "--port", str(port)]
    command += ["--controller-port", str(free_port())]
    stage = Stage(f"127.0.0.1:{port}", topic, bucket, s3, tmp_path)
    loads = []
    try:
        with process(command, tmp_path / "broker.log"):
            broker.wait_until_ready(stage.bootstrap, seconds=60)
            ensure_topic(KafkaSettings(bootstrap_servers=stage.bootstrap, topic=topic), PARTITIONS, 1, None)
            loads.append(stage.load(100))
            consumer = stage.consumer(CONSUMER_HTTP_PORT=str(http), CONSUMER_BATCH_AGE_SECONDS="1")
            assert wait_until_committed(stage.bootstrap, stage.group, topic, PARTITIONS, 120) == {}
            assert _health(http, "").json()["partitions"] == list(range(PARTITIONS))
        until(lambda: "Kafka does not answer" in _health(http, "").text, "the reason", 40)
        assert "Connection refused" in _health(http, "").text
        assert (_health(http, "").status_code, _health(http, "/live").status_code) == (503, 200)
        with process(command, tmp_path / "broker.log"):
            broker.wait_until_ready(stage.bootstrap, seconds=60)
            loads.append(stage.load(100))
            assert wait_until_committed(stage.bootstrap, stage.group, topic, PARTITIONS, 60) == {}
            until(lambda: _health(http, "").status_code == 200, "ready again")
            assert consumer.terminate() == 0
    finally:
        for started in stage.consumers:
            started.kill()
    assert verdict(stage, *loads).errors == []


def test_a_conflict_is_not_taken_for_an_object_that_exists(stage: Stage) -> None:
    host, port = stage.endpoint.removeprefix("http://").split(":")
    proxy = FaultProxy((host, int(port)), 1)
    proxy.weather = Weather(s409=0.5)
    try:
        load = stage.load(400, bad_share=0.3)
        consumer = stage.consumer(
            AWS_ENDPOINT_URL=proxy.endpoint, CONSUMER_BATCH_RECORDS="20", CONSUMER_BATCH_AGE_SECONDS="1"
        )
        assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
        assert consumer.terminate() == 0
    finally:
        proxy.close()
    assert proxy.counts["409"] > 10
    assert verdict(stage, load).errors == []


def _health(port: int, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}/healthz{path}")


def _buffered(port: int) -> float:
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("lakehouse_consumer_buffered_bytes")).split()[1])


def test_an_s3_outage_at_the_end_exits_with_3_and_the_rest_lands_later(stage: Stage) -> None:
    host, port = stage.endpoint.removeprefix("http://").split(":")
    proxy = FaultProxy((host, int(port)), 1)
    try:
        consumer = stage.consumer(
            AWS_ENDPOINT_URL=proxy.endpoint, CONSUMER_BATCH_AGE_SECONDS="1", CONSUMER_SHUTDOWN_GRACE_SECONDS="2"
        )
        loads = [stage.load(10)]
        until(lambda: object_count(stage) > 0, "a first batch")
        proxy.weather = Weather(outage=True)
        loads.append(stage.load(500))
        until(lambda: "PUT failed" in stage.log(), "a PUT that fails")
        assert consumer.terminate() == 3
    finally:
        proxy.close()
    second = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="1")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert second.terminate() == 0
    assert verdict(stage, *loads).errors == []


def test_bad_messages_are_listed_and_replayed_once(stage: Stage) -> None:
    load = stage.load(200, bad_share=0.2)
    bad = sum(not message.valid for message in load.acknowledged)
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="1")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert consumer.terminate() == 0
    listed = ingest(stage, "replay")
    assert f"{bad} dead letters not replayed" in listed.stderr
    assert "nothing sent" in listed.stderr
    chosen = ingest(stage, "replay", "--error-class", "missing_field")
    incomplete = sum(message.value == b'{"id": 1}' for message in load.acknowledged)
    assert f"{incomplete} dead letters" in chosen.stderr
    assert f"{bad} sent, 0 were" in ingest(stage, "replay", "--yes").stderr
    assert "0 dead letters not replayed" in ingest(stage, "replay", "--yes").stderr
    ends = log_ends(stage)
    assert sum(ends.values()) == 200 + bad
    letters = {
        f"{stage.topic}/{message.partition}/{message.offset}": (message.value, message.key, message.headers)
        for message in load.acknowledged if not message.valid
    }  # fmt: skip
    assert _replayed(stage, ends) == letters


def _replayed(stage: Stage, ends: dict[int, int]) -> dict[str, tuple[Any, Any, Any]]:
    """The replayed messages on the topic: value, key and original headers, by the id of the dead letter."""
    reader = KafkaConsumer({"bootstrap.servers": stage.bootstrap, "group.id": "none", "enable.auto.commit": False})
    reader.assign([TopicPartition(stage.topic, partition, 0) for partition in ends])
    replayed: dict[str, tuple[Any, Any, Any]] = {}
    for message in reader.consume(sum(ends.values()), 30):
        headers: list[tuple[str, Any]] = list(message.headers() or ())  # type: ignore[arg-type]
        names = [value.decode() for name, value in headers if name == "replay-of"]
        if names:
            assert names[0] not in replayed
            own = tuple(pair for pair in headers if pair[0] != "replay-of")
            replayed[names[0]] = (message.value(), message.key(), own)
    reader.close()
    return replayed


def test_an_interrupted_replay_does_not_send_twice(stage: Stage) -> None:
    load = stage.load(60, bad_share=0.2)
    bad = sum(not message.valid for message in load.acknowledged)
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="1")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert consumer.terminate() == 0
    ingest(stage, "replay", "--yes")
    s3 = s3_client()
    for entry in s3.list_objects_v2(Bucket=stage.bucket, Prefix="state/replayed/")["Contents"]:
        marker = json.loads(s3.get_object(Bucket=stage.bucket, Key=entry["Key"])["Body"].read())
        marker["replayed_at"] = None  # as if the process had died between sending and marking
        marker["claimed_at"] = "2026-11-01T00:00:00Z"  # long ago
        s3.put_object(Bucket=stage.bucket, Key=entry["Key"], Body=json.dumps(marker).encode())
    assert f"0 sent, {bad} were on the topic already" in ingest(stage, "replay", "--yes").stderr
    assert sum(log_ends(stage).values()) == 60 + bad


def test_an_interrupted_replay_goes_on_after_retention_deleted_its_records(stage: Stage) -> None:
    bad = _dead_letters(stage)
    s3, key = s3_client(), f"state/replayed/p{bad.partition:05d}_o{bad.offset:020d}.json"
    marker = {
        "letter": f"{stage.topic}/{bad.partition}/{bad.offset}",
        "log_ends": dict.fromkeys(range(PARTITIONS), 0),
        "claimed_at": "2026-11-01T00:00:00Z",
    }
    s3.put_object(Bucket=stage.bucket, Key=key, Body=json.dumps(marker).encode())
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    for at, answer in admin.delete_records([TopicPartition(stage.topic, n, 3) for n in range(PARTITIONS)]).items():
        assert answer.result().low_watermark == 3, at
    command = ingest(stage, "replay", "--yes")
    assert (command.returncode, "1 sent, 0 were" in command.stderr) == (0, True), command.stderr


def test_a_dead_letter_that_kafka_refuses_blocks_no_other_and_is_named(stage: Stage) -> None:
    large = _dead_letters(stage, random.Random(1).randbytes(2700), b"no quote")  # no compression makes it fit
    _limit_messages(stage, 2000)
    for _ in range(2):  # the second replay finds that the small message is on the topic
        command = ingest(stage, "replay", "--yes")
        assert command.returncode == 3, command.stderr
        refused = [json.loads(line) for line in command.stderr.splitlines() if "refused by Kafka" in line]
        assert [line["letter"].split(": ")[0] for line in refused] == [
            f"{stage.topic}/{large.partition}/{large.offset}"
        ]
    assert "0 sent, 0 were" in command.stderr
    assert sum(log_ends(stage).values()) == 40 + 2 + 1


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_large_dead_letter_goes_back_to_the_topic_that_took_it(stage: Stage, compression: str) -> None:
    """2 MB is above the client's own limit. Compressed, it also fitted into a topic for messages of 1 MB."""
    if compression == "none":
        _limit_messages(stage, 3_000_000)
    _dead_letters(stage, b"no quote " * 220_000, compression=compression)
    command = ingest(stage, "replay", "--yes")
    assert (command.returncode, "1 sent, 0 were" in command.stderr) == (0, True), command.stderr


def _limit_messages(stage: Stage, size: int) -> None:
    """Set the topic's max.message.bytes."""
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    limit = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, stage.topic, incremental_configs=[limit])
    admin.incremental_alter_configs([resource])[resource].result()


def _dead_letters(stage: Stage, *values: bytes, compression: str = "none") -> TopicPartition:
    """Land messages among which `values` are dead letters; returns the place of the first one."""
    values = values or (b"no quote",)
    stage.load(40)
    places: list[TopicPartition] = []
    producer = Producer(
        {"bootstrap.servers": stage.bootstrap, "message.max.bytes": 10_000_000, "compression.type": compression}
    )
    for value in values:
        producer.produce(
            stage.topic, value, partition=0,
            on_delivery=lambda _, sent: places.append(TopicPartition(stage.topic, 0, sent.offset() or 0)),
        )  # fmt: skip
    producer.flush()
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert consumer.terminate() == 0
    return places[0]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"CONSUMER_BATCH_RECORDS": "0"}, ["CONSUMER_BATCH_RECORDS", "0"]),
        ({"CONSUMER_COMPRESSION": "zstd"}, ["CONSUMER_COMPRESSION", "'none' or 'gzip'"]),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, ["KAFKA_SASL_USERNAME"]),
        ({"KAFKA_TOPIC": "not-there"}, ["not-there", "create-topic"]),
        ({"KAFKA_OPTIONS": '{"no.such.option": 1}'}, ["no.such.option"]),
    ],
)
def test_wrong_settings_are_refused_by_name(stage: Stage, changes: dict[str, str], named: list[str]) -> None:
    reason = refusal(ingest(stage, "consume", **changes))
    for name in named:
        assert name in reason


def test_an_s3_that_overwrites_what_it_should_only_create_is_refused(stage: Stage) -> None:
    host, port = stage.endpoint.removeprefix("http://").split(":")
    proxy = FaultProxy((host, int(port)), 1)
    proxy.weather = Weather(unconditional=True)
    try:
        assert "If-None-Match" in refusal(ingest(stage, "consume", AWS_ENDPOINT_URL=proxy.endpoint))
    finally:
        proxy.close()


def test_a_prefix_of_another_contract_is_refused(stage: Stage) -> None:
    stage.load(10)
    stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    until(lambda: object_count(stage) > 0, "a first batch")
    assert stage.consumers[0].terminate() == 0
    assert "suffix='.json'" in refusal(ingest(stage, "consume", CONSUMER_COMPRESSION="gzip"))
    assert "resize-cells" in refusal(ingest(stage, "consume", CONSUMER_BATCH_RECORDS="101"))
    for command in ("consume", "replay", "adopt"):
        refused = refusal(ingest(stage, command, S3_DEAD_LETTER_PREFIX="elsewhere/", KAFKA_GROUP="another"))
        assert "dead_letter_prefix='dead_letter/'" in refused
        assert "set S3_DEAD_LETTER_PREFIX back" in refused
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    admin.delete_topics([stage.topic])[stage.topic].result()
    until(lambda: stage.topic not in admin.list_topics(timeout=10).topics, "the topic is gone")
    assert ingest(stage, "create-topic", "--partitions", "4").returncode == 0
    assert "deleted and recreated" in refusal(ingest(stage, "consume"))


def test_a_recreated_topic_ends_the_consumer_when_its_offset_is_missing(stage: Stage) -> None:
    stage.load(40)
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    admin.delete_topics([stage.topic])[stage.topic].result()
    until(lambda: '"topic created"' in ingest(stage, "create-topic", "--partitions", "4").stderr, "a new topic")
    until(lambda: not consumer.running, "the consumer has ended")
    assert consumer.process is not None
    assert consumer.process.returncode == 2
    assert "deleted and recreated" in json.loads(consumer.log.read_text().splitlines()[-1])["reason"]


def test_a_topic_with_the_producers_clock_is_refused_unless_allowed(stage: Stage) -> None:
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    other = f"{stage.topic}-create-time"
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    admin.create_topics([NewTopic(other, 1)])[other].result()
    assert "CONSUMER_ALLOW_CREATE_TIME" in refusal(ingest(stage, "consume", KAFKA_TOPIC=other))


def test_a_foreign_commit_is_refused_and_can_be_adopted(stage: Stage) -> None:
    load = stage.load(200)
    other = KafkaConsumer({"bootstrap.servers": stage.bootstrap, "group.id": stage.group})
    other.commit(offsets=[TopicPartition(stage.topic, 0, 5)], asynchronous=False)
    other.close()
    assert "adopt" in refusal(ingest(stage, "consume"))
    assert "nothing changed" in ingest(stage, "adopt").stderr
    assert "adopted" in ingest(stage, "adopt", "--yes").stderr
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert consumer.terminate() == 0
    landed = check(s3_client(), stage.bucket, [m for m in load.acknowledged if m.partition != 0 or m.offset >= 5])
    assert [error for error in landed.errors if "begins at 5, expected 0" not in error] == []


def test_records_deleted_before_they_were_read_stop_their_partition_only(stage: Stage) -> None:
    first = stage.load(200)
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert consumer.terminate() == 0
    more = stage.load(400)
    ends = log_ends(stage)
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    at = TopicPartition(stage.topic, 0, ends[0] - 10)
    admin.delete_records([at])[TopicPartition(stage.topic, 0)].result()
    second = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    until(lambda: "partition stopped" in second.log.read_text(), "partition 0 stopped")
    until(lambda: sum(1 for e in _missing(stage) if e != 0) == 0, "the others landed")
    assert second.terminate() == 3
    adopted = ingest(stage, "adopt", "--partition", "0", "--yes")
    assert "1 partitions adopted" in adopted.stderr
    third = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert third.terminate() == 0
    kept = [m for m in (*first.acknowledged, *more.acknowledged) if m.partition != 0]
    errors = [error for error in check(s3_client(), stage.bucket, kept).errors if "partition 0" not in error]
    assert [error for error in errors if "without a data object" not in error] == []
    letters = s3_client().list_objects_v2(Bucket=stage.bucket, Prefix="dead_letter/")["Contents"]
    assert len(letters) == 1
    (row,) = json.loads(s3_client().get_object(Bucket=stage.bucket, Key=letters[0]["Key"])["Body"].read())
    assert (row["error_class"], row["last_offset"]) == ("gap", ends[0] - 11)


def test_adopt_and_resize_refuse_another_topic_than_the_contracts(stage: Stage) -> None:
    stage.load(10)
    stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    until(lambda: object_count(stage) > 0, "a first batch")
    assert stage.consumers[0].terminate() == 0
    before = s3_client().get_object(Bucket=stage.bucket, Key="crypto_data/_contract.json")["Body"].read()
    other = f"{stage.topic}-other"
    assert ingest(stage, "create-topic", KAFKA_TOPIC=other).returncode == 0
    for command in (["adopt", "--yes"], ["resize-cells", "50", "--yes"]):
        refused = ingest(stage, *command, KAFKA_TOPIC=other)
        assert f"topic='{stage.topic}', this consumer has '{other}'" in refusal(refused)
        assert len(refused.stderr.splitlines()) == 1  # no plan
    assert s3_client().get_object(Bucket=stage.bucket, Key="crypto_data/_contract.json")["Body"].read() == before
    assert "cell size 0 is not allowed" in refusal(ingest(stage, "resize-cells", "0", "--yes"))
    assert ingest(stage, "resize-cells", "50", "--yes").returncode == 0


def _missing(stage: Stage) -> dict[int, int]:
    return wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 0)


def test_a_topic_deleted_while_the_consumer_runs_is_named(stage: Stage) -> None:
    http = free_port()
    stage.load(40)
    options = json.loads(stage.environment["KAFKA_OPTIONS"]) | {"topic.metadata.refresh.interval.ms": 1000}
    consumer = stage.consumer(
        CONSUMER_BATCH_AGE_SECONDS="0.5", CONSUMER_HTTP_PORT=str(http), KAFKA_OPTIONS=json.dumps(options)
    )
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    admin.delete_topics([stage.topic])[stage.topic].result()
    until(lambda: "is not in Kafka any more: it was deleted" in _health(http, "").text, "the reason")
    assert "took this consumer for dead" not in _health(http, "").text
    assert _health(http, "").status_code == 503
    assert '"topic is gone"' in consumer.log.read_text()
    consumer.terminate()


def test_a_partition_stopped_by_a_foreign_object_goes_on_without_it(stage: Stage) -> None:
    http, s3 = free_port(), s3_client()
    place = {"Bucket": stage.bucket, "Key": object_key("dead_letter/", "dead_letter", 0, 5, 0)}
    s3.put_object(**place, Body=b"[]")
    load = stage.load(40)
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5", CONSUMER_HTTP_PORT=str(http))
    until(lambda: _health(http, "").json().get("partitions_stopped") == [0], "partition 0 stopped")
    s3.delete_object(**place)
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    until(lambda: _health(http, "").status_code == 200, "ready")
    assert '"partition goes on"' in consumer.log.read_text()
    assert consumer.terminate() == 0
    assert verdict(stage, load).errors == []
