"""The monitor DAG against real Kafka, S3, CloudWatch (emulated) and SMTP: each condition really produced."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without __all__

from include.aws.permissions import POLICIES
from include.landing.layout import object_key
from include.settings import StorageSettings
from include.watch import cloudwatch, layer_state
from include.watch.catalogue import CONDITIONS, CONSUMER_METRICS, LAYERS
from include.watch.cloudwatch import Datum
from include.watch.layer_state import FailingTest, LayerState, LayerTests, Run
from tests import policy_guard
from tests.dags.conftest import DAGS, Mailbox, aws_connection, kafka_connection
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers

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

    def tick(self) -> dict[str, str]:
        """One run of the monitor; the states of its tasks."""
        run = self.dag.test()
        assert run is not None
        return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}

    def red(self) -> set[str]:
        """One run of the monitor; the tasks that failed in it."""
        return {task_id for task_id, state in self.tick().items() if state == "failed"}

    def set_layer(self, layer: str, age: timedelta = MINUTE, failing: tuple[FailingTest, ...] = ()) -> None:
        """What a transform run leaves behind."""
        now = datetime.now(UTC)
        tests = LayerTests(10, sum(t.severity == "warn" for t in failing), 0, failing)
        run = Run("crypto_transform", "r", "http://airflow.test/r")
        state = LayerState(layer, f"model_{layer}", 7, now - age, now, tests, run)  # type: ignore[arg-type]
        layer_state.write(boto3.client("s3"), StorageSettings(bucket=self.bucket), state)

    def publish(self, metric: str, value: float, ago: timedelta = 2 * MINUTE) -> None:
        """One number as consumer or monitor publish it."""
        at = datetime.now(UTC) - ago
        cloudwatch.publish(boto3.client("cloudwatch"), "CryptoLakehouse", self.environment, [Datum(metric, value)], at)

    def produce(self, count: int, age: timedelta = timedelta()) -> None:
        """Messages whose Kafka timestamp is `age` ago."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        stamp = int((time.time() - age.total_seconds()) * 1000)
        for _ in range(count):
            producer.produce(self.topic, b"{}", partition=0, timestamp=stamp)
        assert producer.flush(30) == 0

    def join(self) -> None:
        """A member of the consumer group that commits nothing."""
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": self.group, "enable.auto.commit": False}
            | {"auto.offset.reset": "latest"}
        )
        consumer.subscribe([self.topic])
        while not consumer.assignment():
            consumer.poll(0.2)
        self.members.callback(consumer.close)

    def commit_all(self) -> None:
        """The group has landed everything."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        where = TopicPartition(self.topic, 0)
        _, high = consumer.get_watermark_offsets(where, timeout=10)
        consumer.commit(offsets=[TopicPartition(self.topic, 0, high)], asynchronous=False)
        consumer.close()

    def alter_topic(self, **settings: str) -> None:
        """Create the topic with settings."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(self.topic, num_partitions=1, config=settings)])[self.topic].result()


@pytest.fixture
def pipeline(
    airflow_db: None,
    dag: DAG,
    kafka_server: KafkaServer,
    s3: str,
    bucket: str,
    topic: str,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Pipeline]:
    """A quiet pipeline: fresh layers, nothing unread, a consumer that publishes."""
    if kafka_server.kind == "built-in":
        pytest.skip("needs Apache Kafka: the built-in broker can neither create topics nor describe groups")
    found = Pipeline(
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
        "AIRFLOW_CONN_KAFKA_DEFAULT": kafka_connection(found.bootstrap),
        "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(s3),
        "KAFKA_TOPIC": topic,
        "KAFKA_GROUP": found.group,
        "S3_BUCKET": bucket,
        "MONITOR_ENVIRONMENT": found.environment,
        "ALERT_EMAILS": '["oncall@example.com"]',
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for layer in LAYERS:
        found.set_layer(layer)
    for minutes in (3, 8, 13):
        found.publish("MonitorHeartbeat", 1, minutes * MINUTE)
        for metric in CONSUMER_METRICS:
            found.publish(metric.name, 0 if metric.name == "UploadErrors" else 10, minutes * MINUTE)
    with found.members:
        yield found


def test_a_quiet_pipeline_is_green_and_sends_nothing(pipeline: Pipeline) -> None:
    pipeline.alter_topic()
    pipeline.join()
    states = pipeline.tick()
    assert set(states.values()) == {"success"}, states
    assert {task for task in states if task.startswith("check_")} == set(CHECKS)
    pipeline.produce(3)  # younger than a batch's age
    assert pipeline.red() == set()
    assert pipeline.mailbox.take() == []


def test_a_run_uses_exactly_what_the_policy_allows_our_code(pipeline: Pipeline) -> None:
    used: set[str] = set()
    pipeline.patch.setitem(policy_guard.seen, "AirflowPolicy", used)
    pipeline.patch.setenv("ALERT_SNS_TOPIC_ARN", boto3.client("sns").create_topic(Name="alerts")["TopicArn"])
    gone(pipeline)
    assert pipeline.red() == {"check_consumer_stalled", "notify"}
    assert used == {one.action for one in POLICIES["AirflowPolicy"] if "our code" in one.used_by}


def lag(pipeline: Pipeline) -> None:
    pipeline.alter_topic()
    pipeline.join()
    pipeline.produce(1001)


def gone(pipeline: Pipeline) -> None:
    pipeline.alter_topic()
    pipeline.produce(3, age=10 * MINUTE)


def short_retention(pipeline: Pipeline) -> None:
    pipeline.alter_topic(**{"retention.ms": "7200000"})
    pipeline.join()
    pipeline.produce(3, age=10 * MINUTE)


def bad_test(pipeline: Pipeline) -> None:
    pipeline.alter_topic()
    pipeline.set_layer("silver", failing=(FailingTest("price_in_range_crypto_stage", "warn", 4, "Got 4 results"),))


def old(layer: str, age: timedelta) -> Callable[[Pipeline], None]:
    def produce(pipeline: Pipeline) -> None:
        pipeline.alter_topic()
        pipeline.set_layer(layer, age)

    return produce


def published(metric: str, value: float) -> Callable[[Pipeline], None]:
    def produce(pipeline: Pipeline) -> None:
        pipeline.alter_topic()
        pipeline.publish(metric, value)

    return produce


def low(pipeline: Pipeline) -> None:
    pipeline.alter_topic()
    pipeline.patch.setenv("MONITOR_ENVIRONMENT", f"{pipeline.environment}-low")
    pipeline.environment += "-low"
    for minutes in (3, 8, 13):
        pipeline.publish("MonitorHeartbeat", 1, minutes * MINUTE)
        pipeline.publish("MessagesConsumed", 2, minutes * MINUTE)


def dead_letter(pipeline: Pipeline) -> None:
    pipeline.alter_topic()
    key = object_key("dead_letter/", "dead_letter", 0, 0, int(time.time() * 1000))
    boto3.client("s3").put_object(Bucket=pipeline.bucket, Key=key, Body=b"{}")


def bad_variable(pipeline: Pipeline) -> None:
    pipeline.alter_topic()
    pipeline.patch.setenv("AIRFLOW_VAR_MONITOR_THRESHOLDS", '{"kafka_lagg": 1}')


@pytest.mark.parametrize(
    ("condition", "produce", "says"),
    [
        ("kafka_lag", lag, "1,001"),
        ("consumer_stalled", gone, "partition 0: STOP"),
        ("retention_headroom", short_retention, "109 min"),
        ("dbt_tests", bad_test, "price_in_range_crypto_stage"),
        ("stale_gold", old("gold", timedelta(hours=3)), "3 h"),
        ("stale_silver", old("silver", timedelta(days=4)), "4 d"),
        ("stale_bronze", old("bronze", timedelta(days=8)), "8 d"),
        ("upload_errors", published("UploadErrors", 6), "6 in 5 min"),
        ("slow_uploads", published("UploadDuration", 31), "31 s"),
        ("low_throughput", low, "2 in 5 min, 3 periods on end"),
        ("dead_letters", dead_letter, "Value: 1"),
        ("monitor_blind", bad_variable, "'kafka_lagg' is no condition"),
    ],
)
def test_each_condition_turns_its_task_red_and_is_mailed_once(
    pipeline: Pipeline, condition: str, produce: Callable[[Pipeline], None], says: str
) -> None:
    produce(pipeline)
    assert pipeline.red() == {f"check_{condition}", "notify"}
    mails = pipeline.mailbox.take()
    assert len(mails) == 1
    text = mails[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert says in text
    assert CONDITIONS[condition].title in str(mails[0]["Subject"])
    assert f"{condition}.md" in text
    assert mails[0].get_body(("html",)) is not None
    assert mails[0]["To"] == "oncall@example.com"
    # It lasts: still red, but nobody is told again.
    assert pipeline.red() == {f"check_{condition}"}
    assert pipeline.mailbox.take() == []


def test_several_starts_are_one_mail_and_so_are_their_recoveries(pipeline: Pipeline) -> None:
    gone(pipeline)
    pipeline.set_layer("gold", timedelta(hours=3))
    assert pipeline.red() == {"check_consumer_stalled", "check_stale_gold", "notify"}
    (mail,) = pipeline.mailbox.take()
    assert "2 new" in str(mail["Subject"])
    pipeline.set_layer("gold")
    pipeline.commit_all()
    assert pipeline.red() == set()
    (mail,) = pipeline.mailbox.take()
    assert "2 over" in str(mail["Subject"])
    assert pipeline.red() == set()
    assert pipeline.mailbox.take() == []


def test_a_reminder_comes_when_it_is_due(pipeline: Pipeline) -> None:
    gone(pipeline)
    pipeline.patch.setenv("ALERT_REMINDER_HOURS", "0.0001")
    pipeline.tick()
    assert len(pipeline.mailbox.take()) == 1
    assert pipeline.red() == {"check_consumer_stalled"}
    (mail,) = pipeline.mailbox.take()
    assert "still: The consumer group is gone or stalled" in str(mail["Subject"])


def test_a_threshold_can_be_set_by_variable_and_the_mail_says_so(pipeline: Pipeline) -> None:
    pipeline.alter_topic()
    pipeline.join()
    pipeline.produce(3)
    pipeline.patch.setenv("AIRFLOW_VAR_MONITOR_THRESHOLDS", '{"kafka_lag": 2}')
    assert pipeline.red() == {"check_kafka_lag", "notify"}
    (mail,) = pipeline.mailbox.take()
    assert "> 2, Variable monitor_thresholds" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_without_kafka_the_monitor_says_so_and_counts_nothing_as_zero(pipeline: Pipeline) -> None:
    pipeline.alter_topic()
    pipeline.patch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", kafka_connection("127.0.0.1:1"))
    states = pipeline.tick()
    red = {task for task, state in states.items() if state == "failed"}
    assert red == {"measure_kafka", "check_monitor_blind", "notify"}
    skipped = {task for task, state in states.items() if state == "skipped"}
    assert skipped == {"check_kafka_lag", "check_consumer_stalled", "check_retention_headroom"}
    (mail,) = pipeline.mailbox.take()
    assert "Kafka could not be read" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    pipeline.patch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", kafka_connection(pipeline.bootstrap))
    assert pipeline.red() == set()
    assert "over" in str(pipeline.mailbox.take()[0]["Subject"])


def test_without_s3_the_monitor_says_so_once_and_recovers(pipeline: Pipeline) -> None:
    pipeline.alter_topic()
    away = {"s3": {"endpoint_url": "http://127.0.0.1:1"}}
    pipeline.patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(pipeline.endpoint, **away))
    assert pipeline.red() == {"measure_objects", "measure_layers", "check_monitor_blind", "notify"}
    (mail,) = pipeline.mailbox.take()
    assert "alert state in S3" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "notify" not in pipeline.red()
    assert pipeline.mailbox.take() == []
    pipeline.patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(pipeline.endpoint))
    assert pipeline.red() == set()
    (mail,) = pipeline.mailbox.take()
    assert "over" in str(mail["Subject"])


def test_without_cloudwatch_the_checks_still_work(pipeline: Pipeline) -> None:
    gone(pipeline)
    away = {"cloudwatch": {"endpoint_url": "http://127.0.0.1:1"}}
    pipeline.patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(pipeline.endpoint, **away))
    red = pipeline.red()
    assert red == {"measure_consumer", "publish", "check_monitor_blind", "check_consumer_stalled", "notify"}
    (mail,) = pipeline.mailbox.take()
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "publishing to CloudWatch" in text
    assert "consumer metrics in CloudWatch" in text
    pipeline.patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(pipeline.endpoint))
    assert pipeline.red() == {"check_consumer_stalled"}
    (mail,) = pipeline.mailbox.take()
    assert "over" in str(mail["Subject"])
    assert "publishing to CloudWatch" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_a_mail_that_is_refused_is_shown_and_sent_later(pipeline: Pipeline) -> None:
    gone(pipeline)
    pipeline.mailbox.refuse = True
    assert pipeline.red() == {"check_consumer_stalled", "notify"}
    assert pipeline.red() == {"check_consumer_stalled", "check_notices_undelivered"}
    pipeline.mailbox.refuse = False
    pipeline.tick()
    (mail,) = pipeline.mailbox.take()
    assert "gone or stalled" in str(mail["Subject"])
    assert pipeline.red() == {"check_consumer_stalled"}
    assert pipeline.mailbox.take() == []
