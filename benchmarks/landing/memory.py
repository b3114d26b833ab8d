"""`python -m benchmarks.landing.memory`: peak memory of a consumer by size of message and number of partitions.

Each row drains a new backlog with default settings: first with a fast S3, then with an S3 that is frozen while the
consumer fills its buffer. It prints VmHWM, which the kernel keeps for each process. With `--cgroup` each consumer also
runs inside a memory cgroup (version 1, as root) with the limit of deploy/kubernetes/consumer.yaml. A consumer that is
killed there ends the run. Needs versitygw: `make .local/bench/versitygw`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from confluent_kafka import Producer

from benchmarks.figures import markdown
from benchmarks.landing.rig import DRAIN_SECONDS, KEYS, Stage, stage
from include.ingest.topic import ensure_topic
from include.settings import KafkaSettings
from tests import servers
from tests.chaos.rig import wait_until_committed

SIZES = (250_000, 20_000, 1_000)
"""Bytes of a message. The first is just below the default of CONSUMER_MAX_MESSAGE_BYTES."""
PARTITIONS = (1, 6)
BACKLOG_BYTES = 400 * 2**20
FROZEN_SECONDS = 15.0
"""The buffer of 64 MB fills in less."""
MANIFEST = Path(__file__).parents[2] / "deploy" / "kubernetes" / "consumer.yaml"
CGROUPS = Path("/sys/fs/cgroup/memory")


def limit_bytes() -> int:
    """The memory limit of the manifest, in bytes."""
    found = re.search(r"limits: \{memory: (\d+)Mi\}", MANIFEST.read_text())
    assert found is not None, f"{MANIFEST} has no memory limit in Mi"
    return int(found[1]) * 2**20


def fill(bootstrap: str, topic: str, size: int, partitions: int, total: int) -> None:
    """Send valid messages of `size` bytes, `total` bytes together."""
    ensure_topic(KafkaSettings(bootstrap_servers=bootstrap, topic=topic), partitions, 1, None)
    quote = b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":64123.12,"last_updated":"2026-11-23T20:15:07Z","x":"%b"}'
    value = quote % (b"x" * (size - len(quote) + 2))
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "batch.size": 500_000, "acks": "all"})
    for number in range(total // size):
        while True:
            try:
                producer.produce(topic, value, partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.05)
    if producer.flush(300):
        raise RuntimeError("Kafka did not take the messages")


@contextmanager
def cgroup(limit: int | None) -> Iterator[list[str]]:
    """Start of a command that runs inside a memory cgroup of `limit` bytes; empty without a limit."""
    if limit is None:
        yield []
        return
    group = CGROUPS / f"lakehouse-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        sleep(0.5)
        group.rmdir()


def peak_mb(on: Stage, topic: str, partitions: int, *, frozen: bool, limit: int | None) -> int:
    """Peak RSS (MB) of a consumer that lands the topic. `frozen`: S3 does not answer for some seconds.

    Raises:
        RuntimeError: the consumer ended, or was too slow.
    """
    bucket = f"memory-{topic}-{int(monotonic() * 1000)}"
    root = on.gateway.buckets / bucket
    root.mkdir()
    environment = KEYS | {
        "KAFKA_BOOTSTRAP_SERVERS": on.bootstrap, "KAFKA_TOPIC": topic, "KAFKA_GROUP": bucket, "S3_BUCKET": bucket,
        "AWS_ENDPOINT_URL": on.gateway.endpoint, "CONSUMER_HTTP_PORT": "0", "CONSUMER_BATCH_AGE_SECONDS": "2",
        "CONSUMER_CLOUDWATCH_SECONDS": "5",  # the gateway refuses, but the AWS client is in memory as in production
    }  # fmt: skip
    log, began = on.folder / f"{bucket}.log", monotonic()
    with cgroup(limit) as within:
        command = [*within, os.environ.get("CONSUMER_PYTHON", sys.executable), "-m", "include.ingest", "consume"]
        with servers.process(command, log, environment) as child:
            if frozen:
                while not list(root.rglob("*_p*")):
                    sleep(0.05)
                on.gateway.freeze()
                sleep(FROZEN_SECONDS)
                on.gateway.thaw()
            while wait_until_committed(on.bootstrap, bucket, topic, partitions, 0):
                if child.poll() is not None or monotonic() - began > DRAIN_SECONDS:
                    raise RuntimeError(f"{topic}: exit status {child.poll()}: {log.read_text()[-2000:]}")
                sleep(0.3)
            status = Path(f"/proc/{child.pid}/status").read_text()
    shutil.rmtree(root)
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def main() -> None:
    """Measure every combination and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.landing.memory", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--partitions", type=int, nargs="+", default=PARTITIONS)
    parser.add_argument("--cgroup", action="store_true", help="also within the manifest's limit")
    options = parser.parse_args()
    limits = [None, limit_bytes()] if options.cgroup else [None]
    rows = []
    with tempfile.TemporaryDirectory(prefix="memory-") as folder, stage(Path(folder)) as on:
        for size, partitions in itertools.product(options.sizes, options.partitions):
            topic = f"m-{size}-{partitions}"
            fill(on.bootstrap, topic, size, partitions, BACKLOG_BYTES)
            runs = itertools.product(limits, (False, True))
            peaks = [peak_mb(on, topic, partitions, frozen=frozen, limit=limit) for limit, frozen in runs]
            rows.append((f"{size:,}", str(partitions), *(f"{peak} MB" for peak in peaks)))
            print(json.dumps(rows[-1]), flush=True)
    inside = ("in the cgroup: S3 answers", "in the cgroup: S3 silent") if options.cgroup else ()
    print(markdown(("bytes a message", "partitions", "S3 answers", "S3 silent for 15 s", *inside), rows))


if __name__ == "__main__":
    main()
