"""The monitor DAG with Kafka, SMTP, and emulated S3 and CloudWatch: no fault, a reminder, and its calls of AWS.

tests/scheduler produces each condition under a scheduler and reads the mails.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without __all__
from msgspec import UNSET, structs

from include.assets import coins
from include.aws.permissions import POLICIES
from include.catalogue import CONDITIONS, CONSUMER_METRICS, LAYERS, Layer, Stage
from include.landing.body import PLAIN
from include.landing.layout import object_key
from include.monitoring.checks import cloudwatch, coin_quotes
from include.monitoring.checks.cloudwatch import Datum
from include.monitoring.checks.coins import Watched
from include.on_airflow import callbacks
from include.settings import StorageSettings
from include.state import audited as audited_state
from include.state import json_object, latency, layer_state
from include.state.audited import Audited
from include.state.dbt_tests import DbtTests
from include.state.latency import LayerLatency, StageLatency
from include.state.layer_state import DagRunRef, LayerState, QuarantineCount
from include.state.record_fields import ExtraField, Place, RecordFields
from tests import policy_guard
from tests.airflow_connections import aws_connection, kafka_connection
from tests.dags.conftest import DAGS, Mailbox
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers

SYMBOLS = tuple(coin.symbol for coin in coins())
CHECKS = [condition.task_id for condition in CONDITIONS.values() if condition.checked]
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def dag() -> DAG:
    bag = DagBag(str(DAGS / "pipeline_monitor.py"))
    assert not bag.import_errors
    return bag.dags["pipeline_monitor"]


@dataclass
class Pipeline:
    """A small pipeline whose every part the test can break."""

    bootstrap: str
    endpoint: str
    topic: str
    bucket: str
    group: str
    environment: str
    dag: DAG
    mailbox: Mailbox
    patch: pytest.MonkeyPatch
    members: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def run(self) -> dict[str, str]:
        """Run the monitor once; returns the states of its tasks."""
        run = self.dag.test()
        assert run is not None
        return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}

    def red(self) -> set[str]:
        """Run the monitor once; returns the tasks that failed."""
        return {task_id for task_id, state in self.run().items() if state == "failed"}

    def set_layer(self, layer: Layer, **extra: ExtraField) -> None:
        """Write state and latency of a layer, as a run does; `extra` are fields beyond the contract in bronze."""
        now = datetime.now(UTC)
        fields = RecordFields(now, 7, (), extra) if layer == "bronze" else UNSET
        run = DagRunRef("crypto_transform", "r", "http://airflow.test/r")
        tests, quarantine = DbtTests(10, 0, 0, ()), QuarantineCount(accepted=7, refused=0)
        state = LayerState(
            layer, f"model_{layer}", 7, now - MINUTE, now, tests, run, quarantine=quarantine, record_fields=fields
        )
        s3, storage = boto3.client("s3"), StorageSettings(bucket=self.bucket)
        layer_state.write(s3, storage, state)
        stages: dict[Stage, StageLatency] = {layer: latency.added(StageLatency(), now, {30: 7}, good_within=1200)}
        latency.write(s3, storage, layer, LayerLatency(f"{now:%Y-%m-%d %H:%M:%S}", now, now, stages))

    def publish(self, metric: str, value: float, ago: timedelta = 2 * MINUTE) -> None:
        """Publish one number, as the consumer or the monitor does."""
        at = datetime.now(UTC) - ago
        cloudwatch.publish(boto3.client("cloudwatch"), "CryptoLakehouse", self.environment, [Datum(metric, value)], at)

    def land(self, symbols: tuple[str, ...] = SYMBOLS, age: timedelta = timedelta()) -> None:
        """Land a quote of each coin, as the consumer does."""
        at = int((datetime.now(UTC) - age).timestamp() * 1000)
        messages = [b'{"symbol": "%s"}' % symbol.encode() for symbol in symbols]
        body = PLAIN.encode([PLAIN.join(PLAIN.prefix(self.topic, 0), 0, [at] * len(symbols), messages)])
        key = object_key("crypto_data/", "crypto_data", 0, 0, at)
        boto3.client("s3").put_object(Bucket=self.bucket, Key=key, Body=bytes(body))

    def forget_the_start(self) -> None:
        """Let the monitor believe that it looked at the coins before, as it does after its first run."""
        now = datetime.now(UTC)
        known = {symbol: Watched(now - 30 * MINUTE, now - MINUTE, None, 300.0) for symbol in SYMBOLS}
        coin_quotes.keep(boto3.client("s3"), StorageSettings(bucket=self.bucket), known)

    def produce(self, count: int, age: timedelta = timedelta()) -> None:
        """Send messages whose Kafka timestamp is `age` ago."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        stamp = int((time.time() - age.total_seconds()) * 1000)
        for _ in range(count):
            producer.produce(self.topic, b"{}", partition=0, timestamp=stamp)
        assert producer.flush(30) == 0

    def join(self) -> None:
        """Join the consumer group with a member that commits nothing."""
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": self.group, "enable.auto.commit": False}
            | {"auto.offset.reset": "latest"}
        )
        consumer.subscribe([self.topic])
        while not consumer.assignment():
            consumer.poll(0.2)
        self.members.callback(consumer.close)

    def set_audit(self, *lines: str) -> None:
        """Write the verdict of an audit with these findings."""
        storage, day = StorageSettings(bucket=self.bucket), "2026-11-23"
        audited = Audited(datetime.now(UTC), day, "0" * 64, [day], len(lines), lines)
        json_object.write(boto3.client("s3"), storage.bucket, audited_state.key(storage), audited)

    def create_topic(self) -> None:
        """Create the topic with one partition."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(self.topic, num_partitions=1)])[self.topic].result()


@pytest.fixture
def pipeline(
    no_dag_runs: None,
    dag: DAG,
    kafka_server: KafkaServer,
    s3: str,
    bucket: str,
    topic: str,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Pipeline]:
    """A pipeline without a fault: fresh layers, no unread record, a consumer that publishes."""
    running = Pipeline(
        kafka_server.bootstrap,
        s3,
        topic,
        bucket,
        f"group-{uuid.uuid4().hex[:8]}",
        f"env-{uuid.uuid4().hex[:8]}",
        dag,
        mailbox,
        monkeypatch,
    )
    environment = {
        "AIRFLOW_CONN_KAFKA_DEFAULT": kafka_connection(running.bootstrap),
        "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(s3),
        "KAFKA_TOPIC": topic,
        "KAFKA_GROUP": running.group,
        "S3_BUCKET": bucket,
        "MONITOR_ENVIRONMENT": running.environment,
        "ALERT_EMAILS": '["oncall@example.com"]',
        "MONITOR_QUOTE_INTERVAL_SECONDS": "86400",  # a slow machine takes minutes for a run of the monitor
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for layer in LAYERS:
        running.set_layer(layer)
    running.set_audit()
    for minutes in (3, 8, 13):
        running.publish("MonitorHeartbeat", 1, minutes * MINUTE)
        for metric in CONSUMER_METRICS:
            number = 0 if metric.name in {"UploadErrors", "PartitionsStopped"} else 10
            running.publish(metric.name, number, minutes * MINUTE)
    running.land()
    running.forget_the_start()
    with running.members:
        yield running


def test_a_quiet_pipeline_is_green_and_sends_nothing(pipeline: Pipeline) -> None:
    pipeline.create_topic()
    pipeline.join()
    states = pipeline.run()
    assert set(states.values()) == {"success"}, states
    assert {task for task in states if task.startswith("check_")} == set(CHECKS)
    pipeline.produce(3)  # younger than a batch's age
    assert pipeline.red() == set()
    assert pipeline.mailbox.take() == []


def test_a_coin_without_quotes_is_mailed_with_the_others(pipeline: Pipeline) -> None:
    pipeline.create_topic()
    pipeline.join()
    pipeline.patch.delenv("MONITOR_QUOTE_INTERVAL_SECONDS")
    s3, storage = boto3.client("s3"), StorageSettings(bucket=pipeline.bucket)
    for item in s3.list_objects_v2(Bucket=storage.bucket, Prefix=storage.data_prefix)["Contents"]:
        s3.delete_object(Bucket=storage.bucket, Key=item["Key"])
    pipeline.land(SYMBOLS[:1])
    assert pipeline.red() == {"check_quotes_missing", "notify"}
    (mail,) = pipeline.mailbox.take()
    assert str(mail["Subject"]).endswith(f"A coin sends no quotes: {SYMBOLS[1]} and 1 more")
    body = mail.get_body(("plain",))
    assert body is not None
    assert f"Also: error: A coin sends no quotes: {SYMBOLS[2]}" in body.get_content()
    assert "no quote within the allowed 16 min; none has arrived yet" in body.get_content()
    pipeline.land()
    assert pipeline.red() == set()
    (mail,) = pipeline.mailbox.take()
    assert str(mail["Subject"]).endswith(f"over: A coin sends no quotes: {SYMBOLS[1]}")


def test_what_the_audit_found_is_mailed_and_its_end_too(pipeline: Pipeline) -> None:
    pipeline.create_topic()
    pipeline.join()
    finding = "missing: crypto_data/x.json: the manifest has it"
    for lines, red in (((finding,), {"check_audit_failed", "notify"}), ((), set())):
        pipeline.set_audit(*lines)
        assert pipeline.red() == red
        (mail,) = pipeline.mailbox.take()
        assert "The audit found a fault" in str(mail["Subject"])
        body = mail.get_body(("plain",))
        assert body is not None
        if lines:
            assert finding in body.get_content()


def test_a_field_that_drifts_is_mailed_until_it_is_known(pipeline: Pipeline) -> None:
    pipeline.create_topic()
    pipeline.join()
    now = datetime.now(UTC)
    rank = ExtraField({"number": Place(now - 30 * MINUTE, 2, 4200)}, {"number": 7}, 7, now, "1")
    pipeline.set_layer("bronze", rank=rank)
    assert pipeline.red() == {"check_schema_drift", "notify"}
    (mail,) = pipeline.mailbox.take()
    assert str(mail["Subject"]).endswith("The fields of the messages have changed: rank")
    body = mail.get_body(("plain",))
    assert body is not None
    assert re.search(r"unknown: number since \S+Z \(partition 2, offset 4200\)", " ".join(body.get_content().split()))
    pipeline.set_layer("bronze", rank=structs.replace(rank, known="number"))
    assert pipeline.red() == set()
    (mail,) = pipeline.mailbox.take()
    assert str(mail["Subject"]).endswith("over: The fields of the messages have changed: rank")


def replay(**params: object) -> str:
    """Run `dead_letter_replay` by hand; returns the state of its task."""
    bag = DagBag(str(DAGS / "dead_letter_replay.py"))
    assert not bag.import_errors
    run = bag.dags["dead_letter_replay"].test(run_conf=params)
    assert run is not None
    (ti,) = run.get_task_instances()
    return str(ti.state)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"since": "2026-11-20", "until": "2026-11-19"}, "which is after until"),
        ({"dry_runn": False}, "did you mean dry_run"),
    ],
    ids=["impossible", "misspelt"],
)
def test_a_run_with_refused_parameters_mails_nobody(
    pipeline: Pipeline, params: dict[str, object], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline.create_topic()
    pipeline.join()
    assert pipeline.red() == set()
    assert replay(**params) == "failed"
    assert says in "".join(capfd.readouterr())
    assert pipeline.red() == set()
    assert pipeline.mailbox.take() == []


def test_a_failed_run_that_no_callback_reported_is_mailed_once(pipeline: Pipeline) -> None:
    """As when the process of the task was killed. The callback is left out, and the bucket does not exist."""
    pipeline.create_topic()
    pipeline.join()
    assert pipeline.red() == set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "on_task_failure", lambda _: None)
        patch.setenv("S3_BUCKET", "no-such-bucket")
        assert replay() == "failed"
    assert pipeline.red() == {"check_dag_unhealthy", "notify"}
    (mail,) = pipeline.mailbox.take()
    assert str(mail["Subject"]).endswith("A DAG does not run as it should: dead_letter_replay")
    body = mail.get_body(("plain",))
    assert body is not None
    assert "failed task: replay" in body.get_content()
    assert "/dags/dead_letter_replay/runs/manual__" in body.get_content()
    assert pipeline.red() == {"check_dag_unhealthy"}
    assert pipeline.mailbox.take() == []
    assert replay() == "success"
    assert pipeline.red() == set()
    (mail,) = pipeline.mailbox.take()
    assert "over: A DAG does not run as it should" in str(mail["Subject"])


def test_a_silenced_condition_is_red_and_not_mailed(pipeline: Pipeline) -> None:
    bag = DagBag(str(DAGS / "alert_silence.py"))
    assert not bag.import_errors
    run = bag.dags["alert_silence"].test(run_conf={"alert": "consumer_stalled", "hours": 1, "reason": "planned"})
    assert run is not None
    assert [str(ti.state) for ti in run.get_task_instances()] == ["success"]
    pipeline.create_topic()
    pipeline.produce(3, age=10 * MINUTE)  # no consumer reads them
    assert pipeline.red() == {"check_consumer_stalled"}
    assert pipeline.mailbox.take() == []


def test_a_due_reminder_is_sent_by_exactly_the_calls_the_policy_allows(pipeline: Pipeline) -> None:
    used: set[str] = set()
    pipeline.patch.setitem(policy_guard.seen, "AirflowPolicy", used)
    pipeline.patch.setenv("ALERT_SNS_TOPIC_ARN", boto3.client("sns").create_topic(Name="alerts")["TopicArn"])
    pipeline.patch.setenv("ALERT_REMINDER_HOURS", "0.0001")
    pipeline.create_topic()
    pipeline.produce(3, age=10 * MINUTE)  # no consumer reads them
    assert pipeline.red() == {"check_consumer_stalled", "notify"}
    assert used == {item.action for item in POLICIES["AirflowPolicy"] if "our code" in item.used_by}
    (started,) = pipeline.mailbox.take()
    assert pipeline.red() == {"check_consumer_stalled"}
    (mail,) = pipeline.mailbox.take()
    assert "still error: The consumer group is gone or stalled" in str(mail["Subject"])
    assert mail["In-Reply-To"] == started["Message-ID"]
