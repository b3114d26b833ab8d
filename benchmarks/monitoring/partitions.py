"""Cost of the Kafka part of a run of the monitor, with few and with many partitions.

    python -m benchmarks.monitoring.partitions [--partitions 1 10 100 1000]

For each number it makes a topic of which each partition has ten records, five of them unread. Then it measures the lag
as the monitor does, and prints a line of JSON. The lag window is in the AWS emulator.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import boto3
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.figures import Figures, Values, growth
from benchmarks.landing.rig import fill
from include.local.emulator import CREDENTIALS
from include.monitoring.checks import measure
from include.monitoring.checks.kafka_offsets import probe_config
from include.settings import load
from tests import servers

PARTITIONS = (1, 10, 100, 1_000)
RECORDS, COMMITTED = 10, 5
READINGS = 5
GROUP = "monitored"


def commit(bootstrap: str, topic: str, partitions: int) -> None:
    """Commit half of each partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP})
    places = [TopicPartition(topic, partition, COMMITTED) for partition in range(partitions)]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()


def look(bootstrap: str) -> dict[str, float]:
    """Median seconds and CPU seconds of a look, the unread records that it found, and the bytes of the lag window."""
    s3, settings = boto3.client("s3"), load()
    admin = AdminClient({"bootstrap.servers": bootstrap})
    seconds, cpu = [], []
    for _ in range(READINGS):
        probe = Consumer({"bootstrap.servers": bootstrap} | probe_config(settings.kafka.group))  # a look closes it
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        found = measure.kafka(admin, probe, s3, settings, datetime.now(UTC))
        after = resource.getrusage(resource.RUSAGE_SELF)
        seconds.append(time.perf_counter() - began)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    if found.window_fault:
        raise RuntimeError(found.window_fault)
    pages = s3.list_objects_v2(Bucket=settings.storage.bucket).get("Contents", [])
    return {
        "seconds": round(statistics.median(seconds), 4), "cpu_seconds": round(statistics.median(cpu), 4),
        "lag": found.lag.total, "state_bytes": sum(item["Size"] for item in pages),
    }  # fmt: skip


def figures(partitions: Iterable[int] = PARTITIONS) -> Figures:
    """The look's figures for each number of partitions, and the most over the fewest."""
    counts, values = list(partitions), Values()
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.aws_server(Path(folder) / "aws") as endpoint,
        servers.kafka_server(Path(folder) / "kafka") as kafka,
    ):
        os.environ |= CREDENTIALS | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint}
        os.environ |= {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "KAFKA_GROUP": GROUP}
        for count in counts:
            topic = f"partitions-{count}"
            os.environ |= {"KAFKA_TOPIC": topic, "S3_BUCKET": topic}
            boto3.client("s3").create_bucket(Bucket=topic)
            fill(kafka.bootstrap, topic, RECORDS * count, count)
            commit(kafka.bootstrap, topic, count)
            found = look(kafka.bootstrap)
            print(json.dumps({"partitions": count} | found), flush=True)
            values |= {f"{count}.{name}": value for name, value in found.items()}
    return Figures(values | growth(values, "seconds", counts))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, nargs="+", default=PARTITIONS)
    figures(parser.parse_args().partitions)


if __name__ == "__main__":
    main()
