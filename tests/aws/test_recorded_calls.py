"""The consumer's programs on real Kafka: each AWS call is recorded, and refused if the policy does not allow it.

The monitor runs under the same guard in tests/dags, where a test makes the same comparison. dbt-athena runs under the
guard in tests/athena.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from include import catalogue
from include.aws.permissions import POLICIES
from include.ingest.topic import ensure_topic
from include.settings import PROJECT_ROOT, KafkaSettings
from tests.chaos.rig import Load
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers

GUARDED = """
import json, pathlib, sys
from tests import policy_guard
policy_guard.install()
from include.ingest.__main__ import main
try:
    status = main(sys.argv[2:])
finally:
    pathlib.Path(sys.argv[1]).write_text(json.dumps(sorted(policy_guard.seen["ConsumerPolicy"])))
sys.exit(status)
"""


def log_end(kafka: KafkaSettings, partition: int) -> int:
    reader = Consumer(kafka.client_config() | {"group.id": "test-reader"})
    try:
        return reader.get_watermark_offsets(TopicPartition(kafka.topic, partition), timeout=10)[1]
    finally:
        reader.close()


def landed(bucket: str, prefix: str) -> int:
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sum(page["KeyCount"] for page in pages)


def is_published(environment: str) -> bool:
    """Whether CloudWatch has a metric with this value of the dimension Environment."""
    found = boto3.client("cloudwatch").list_metrics(Dimensions=[{"Name": catalogue.ENVIRONMENT, "Value": environment}])
    return bool(found["Metrics"])


def test_the_consumers_programs_use_exactly_what_their_policy_allows(
    kafka_server: KafkaServer, topic: str, bucket: str, s3: str, tmp_path: Path
) -> None:
    """The programs use exactly the actions that the policy allows to the code of this project."""
    kafka = KafkaSettings(bootstrap_servers=kafka_server.bootstrap, topic=topic)
    ensure_topic(kafka, 2, 1, None)
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": kafka_server.bootstrap,
        "KAFKA_TOPIC": topic,
        "KAFKA_GROUP": f"group-{topic}",
        "S3_BUCKET": bucket,
        "AWS_ENDPOINT_URL": s3,
        "CONSUMER_HTTP_PORT": "0",
        "CONSUMER_BATCH_AGE_SECONDS": "1",
        "CONSUMER_CLOUDWATCH_SECONDS": "1",
        "MONITOR_ENVIRONMENT": topic,
        "CONSUMER_ALLOW_CREATE_TIME": "true",
        "CONSUMER_ALLOW_MISSING_TOPIC_ID": "true",
    }

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", GUARDED, str(tmp_path / f"{name}.json"), *arguments]
        with (tmp_path / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=log)

    def used_by(name: str) -> set[str]:
        return set(json.loads((tmp_path / f"{name}.json").read_text()))

    load = Load(kafka_server.bootstrap, topic, 2, seed=1, rate=0, bad_share=0.2)
    for _ in range(50):
        load.send_one()
    load.finish()
    consumer = start("consume", "consume")
    try:
        deadline = time.monotonic() + 120
        while not (landed(bucket, "dead_letter/") and is_published(topic)):
            assert consumer.poll() is None, (tmp_path / "consume.log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "consume.log").read_text()
            time.sleep(0.2)
        consumer.send_signal(signal.SIGTERM)
        assert consumer.wait(60) == 0, (tmp_path / "consume.log").read_text()
    finally:
        consumer.kill()
    producer = Producer(kafka.client_config())
    producer.produce(topic, b"not landed", partition=0)
    assert producer.flush(20) == 0
    for name, arguments in {
        "replay": ["--limit", "1", "--yes"],
        "resize-cells": ["200", "--yes"],
        "adopt": ["--partition", "0", "--offset", str(log_end(kafka, 0)), "--yes"],  # skips what is not landed
    }.items():
        assert start(name, name, *arguments).wait(60) == 0, (tmp_path / f"{name}.log").read_text()
    assert landed(bucket, "state/replayed/") == 1

    allowed = {permission.action for permission in POLICIES["ConsumerPolicy"] if "our code" in permission.used_by}
    assert used_by("consume") == allowed
    assert used_by("replay") == used_by("adopt") == allowed - {"cloudwatch:PutMetricData"}
    assert used_by("resize-cells") == {"s3:GetObject", "s3:PutObject"}  # the contract object
