"""lakehouse_maintenance and dead_letter_replay."""

from __future__ import annotations

import random
import time
from typing import Any

import boto3
import obstore
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without __all__

from include.audit.queries import DayCount
from include.landing.body import PLAIN
from include.landing.dead_letter import rejected_message
from include.landing.layout import object_key
from include.on_airflow import audit as daily_audit
from include.on_airflow.connections import bucket_store
from include.settings import StorageSettings
from include.state import audited
from include.transform import inline_query
from tests.airflow_connections import aws_connection, kafka_connection
from tests.dags.conftest import DAGS, Mailbox
from tests.servers import KafkaServer
from tests.unit.audit.landed_days import DAY, NOW, LandedDays

pytestmark = pytest.mark.servers


def load_dag(name: str) -> DAG:
    bag = DagBag(str(DAGS / f"{name}.py"))
    assert not bag.import_errors
    return bag.dags[name]


def messages(bootstrap: str, topic: str) -> list[tuple[Any, Any]]:
    """Value and headers of every message on the topic."""
    config = {"bootstrap.servers": bootstrap, "group.id": f"look-{time.time()}", "auto.offset.reset": "earliest"}
    consumer = Consumer(config | {"enable.partition.eof": True})
    consumer.subscribe([topic])
    contents = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            break
        contents.append((message.value(), message.headers()))
    consumer.close()
    return contents


def test_dead_letters_are_listed_then_replayed_once_each(
    airflow_db: None,
    kafka_server: KafkaServer,
    s3: str,
    bucket: str,
    topic: str,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", kafka_connection(kafka_server.bootstrap))
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3))
    monkeypatch.setenv("S3_BUCKET", bucket)
    admin = AdminClient({"bootstrap.servers": kafka_server.bootstrap})
    admin.create_topics([NewTopic(topic, 1, config={"max.message.bytes": "2000"})])[topic].result()
    now = int(time.time() * 1000)

    def land(first: int, *values: bytes) -> None:
        dead_letters = [
            rejected_message(
                topic=topic,
                partition=0,
                offset=first + number,
                timestamp=now,
                error_class="not_json",
                error="no JSON",
                key=None,
                value=value,
                headers=None,
            )
            for number, value in enumerate(values)
        ]
        key = object_key("dead_letter/", "dead_letter", 0, first, now)
        content = PLAIN.encode([dead_letter.to_line() for dead_letter in dead_letters])
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=bytes(content))

    def run_of(**params: Any) -> tuple[str, dict[str, int] | None]:
        run = load_dag("dead_letter_replay").test(run_conf=params)  # the parameters of a run stay in the DAG object
        assert run is not None
        (ti,) = run.get_task_instances()
        return str(ti.state), ti.xcom_pull(task_ids="replay")

    def replay(**params: Any) -> dict[str, int] | None:
        state, outcome = run_of(**params)
        assert state == "success"
        return outcome

    land(3, b"letter 3", b"letter 4")

    assert replay() == {"chosen": 2, "sent": 0}
    assert messages(kafka_server.bootstrap, topic) == []
    assert replay(dry_run=False, offset=4) == {"chosen": 1, "sent": 1}
    assert replay(dry_run=False, since="2020-01-01", until="2020-01-02") == {"chosen": 0, "sent": 0}
    assert replay(dry_run=False) == {"chosen": 1, "sent": 1}
    assert replay(dry_run=False) == {"chosen": 0, "sent": 0}
    sent = messages(kafka_server.bootstrap, topic)
    assert sorted(value for value, _ in sent) == [b"letter 3", b"letter 4"]
    assert all(dict(headers)["replay-of"].decode().startswith(f"{topic}/0/") for _, headers in sent)
    assert mailbox.take() == []

    # No compression makes the first fit into the topic; it must not block the second.
    land(10, random.Random(1).randbytes(3000), b"letter 11")
    assert run_of(dry_run=False)[0] == "failed"
    assert messages(kafka_server.bootstrap, topic)[-1][0] == b"letter 11"
    (mail,) = mailbox.take()
    text = mail.get_body(("plain",))
    assert text is not None
    assert f"1 refused: {topic}/0/10" in text.get_content().replace("\n    ", " ")


def test_the_audit_leaves_its_verdict_for_the_monitor(
    airflow_db: None,
    kafka_server: KafkaServer,
    s3: str,
    bucket: str,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """tests/warehouse/test_audit.py runs the query that is replaced here."""
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", kafka_connection(kafka_server.bootstrap))
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3))
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setenv("KAFKA_TOPIC", topic)
    gold = DayCount("gold", 0, 0, 0, 0, 0, 0, 0, 0)
    monkeypatch.setattr(inline_query, "rows", lambda *_: [gold])
    admin = AdminClient({"bootstrap.servers": kafka_server.bootstrap})
    admin.create_topics([NewTopic(topic, 2, config={})])[topic].result()
    assert daily_audit.run(NOW) == 0  # nothing has landed yet
    storage = StorageSettings(bucket=bucket)
    days = LandedDays(bucket_store(storage), storage)
    assert daily_audit.run(NOW) == 0
    state = audited.read(boto3.client("s3"), storage)
    assert state is not None
    assert (state.day, state.days, state.findings) == ("2026-11-23", ["2026-11-22", "2026-11-23"], 0)
    obstore.delete(days.store, days.key(DAY, 0, 20))
    assert daily_audit.run(NOW) == 1
    state = audited.read(boto3.client("s3"), storage)
    assert state is not None
    assert state.lines[0].startswith(f"missing: {days.key(DAY, 0, 20)} partition 0, offset 20 to 25: ")
