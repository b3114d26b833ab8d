"""A stage for the ingest programs: topic, bucket and processes of one test, and functions that read their state."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import boto3
import httpx
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import TopicPartition

from tests.chaos.checker import Verdict, check
from tests.chaos.rig import ConsumerProcess, Load

PARTITIONS = 4


class Stage:
    """One topic and one bucket. `consumer()` starts a process, `load()` sends messages."""

    def __init__(self, bootstrap: str, topic: str, bucket: str, endpoint: str, folder: Path) -> None:
        self.bootstrap, self.topic, self.bucket, self.endpoint = bootstrap, topic, bucket, endpoint
        self.group = f"group-{topic}"
        self.folder = folder
        self.consumers: list[ConsumerProcess] = []
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "KAFKA_TOPIC": topic,
            "KAFKA_GROUP": self.group,
            "KAFKA_OPTIONS": '{"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "log_level": 3}',
            "S3_BUCKET": bucket,
            "AWS_ENDPOINT_URL": endpoint,
            "CONSUMER_HTTP_PORT": "0",
            "CONSUMER_CLOUDWATCH": "false",
            "CONSUMER_BATCH_AGE_SECONDS": "60",
        }

    def consumer(self, **changes: str) -> ConsumerProcess:
        """Start a consumer; `changes` are environment variables."""
        number = len(self.consumers)
        consumer = ConsumerProcess(number, self.environment | changes, self.folder / f"consumer-{number}.log")
        self.consumers.append(consumer)
        consumer.start()
        return consumer

    def load(self, count: int, bad_share: float = 0.0) -> Load:
        """Send `count` messages and wait for their acknowledgements."""
        load = Load(self.bootstrap, self.topic, PARTITIONS, seed=count, rate=0, bad_share=bad_share)
        for _ in range(count):
            load.send_one()
        load.finish()
        assert len(load.acknowledged) == count
        return load

    def end(self) -> None:
        """Kill all consumers, stopped ones too."""
        for consumer in self.consumers:
            consumer.signal(signal.SIGCONT)
            consumer.kill()

    def log(self) -> str:
        """The logs of all consumers."""
        return "".join(consumer.log.read_text() for consumer in self.consumers)


def s3_client() -> Any:
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def verdict(stage: Stage, *loads: Load) -> Verdict:
    """Compare the bucket with every acknowledged message."""
    return check(s3_client(), stage.bucket, [message for load in loads for message in load.acknowledged])


def object_count(stage: Stage, prefix: str = "crypto_data/2") -> int:
    return int(s3_client().list_objects_v2(Bucket=stage.bucket, Prefix=prefix)["KeyCount"])


def log_ends(stage: Stage) -> dict[int, int]:
    """The end of each partition in Kafka."""
    reader = KafkaConsumer({"bootstrap.servers": stage.bootstrap, "group.id": "look"})
    ends = {n: reader.get_watermark_offsets(TopicPartition(stage.topic, n), timeout=10)[1] for n in range(PARTITIONS)}
    reader.close()
    return ends


def ingest(stage: Stage, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `python -m include.ingest`; `changes` are environment variables."""
    return subprocess.run(
        [sys.executable, "-m", "include.ingest", *arguments],
        env=os.environ | stage.environment | changes, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def refusal(command: subprocess.CompletedProcess[str]) -> str:
    """The reason with which a command refused to work."""
    assert command.returncode == 2, command.stderr
    return str(json.loads(command.stderr.splitlines()[-1])["reason"])


def until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Return when the condition holds. A page that does not respond yet is requested again."""

    def holds() -> bool:
        try:
            return condition()
        except httpx.TransportError:
            return False

    deadline = monotonic() + seconds
    while not holds():
        assert monotonic() < deadline, f"{what}: not within {seconds} s"
        sleep(0.2)
