"""`python -m benchmarks.landing`: drain a topic into S3, ours against a floor and peers, in one run.

S3 is versitygw (`--versitygw PROGRAM`, from `go install
github.com/versity/versitygw/cmd/versitygw@v1.8.0`), Kafka a real one of its own. Peers are
left out when their program is not given: `--benthos` (build `./cmd/benthos` in a module that
requires github.com/benthosdev/benthos/v4 v4.27.0: `go install` refuses its replace lines),
`--quix` (a Python with `quixstreams[s3]`). Set TMPDIR to a memory file system, else the
gateway's disk is measured. CPU is the consumer process's own, user and system; msg/s is from the
first object to the last record in S3 (files are counted in the gateway's folder).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep, time

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import Producer

from include.ingest.topic import ensure_topic
from include.settings import KafkaSettings
from tests import servers

KEYS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark-secret"}
HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Result:
    """One drain. `load` is the machine's load average just before, so that a disturbed run can be seen."""

    program: str
    records_a_file: int
    partitions: int
    messages: int
    files: int
    seconds: float
    messages_per_second: float
    cpu_us_a_message: float
    peak_rss_mb: int
    load: float


@contextmanager
def versitygw(program: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """The S3 gateway; yields its endpoint and the folder of its buckets."""
    port, root = servers.free_port(), folder / "buckets"
    root.mkdir(parents=True)
    command = [program, "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(root)]
    secrets = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    with servers.process(command, folder / "versitygw.log", secrets):
        endpoint = f"http://127.0.0.1:{port}"
        s3 = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        deadline = monotonic() + 20
        while True:
            try:
                s3.list_buckets()
                break
            except (BotoCoreError, ClientError):
                if monotonic() > deadline:
                    raise
                sleep(0.2)
        yield endpoint, root


def fill(bootstrap: str, topic: str, count: int, partitions: int) -> None:
    """Put `count` quotes on the topic, evenly over its partitions."""
    ensure_topic(KafkaSettings(bootstrap_servers=bootstrap, topic=topic), partitions, 1, None)
    coins = ((1, "BTC", "Bitcoin", 64123.12), (1027, "ETH", "Ethereum", 3120.55), (52, "XRP", "XRP", 0.52))
    values = []
    for number in range(20_000):
        coin, symbol, name, price = coins[number % 3]
        clock = f"{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
        values.append(
            f'{{"id":{coin},"symbol":"{symbol}","name":"{name}","price":{price * (1 + number % 997 / 1e5):.4f},'
            f'"last_updated":"2026-11-23T{clock}.{number % 1000:03d}Z"}}'.encode()
        )
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4", "batch.size": 131_072,
         "queue.buffering.max.messages": 500_000, "acks": "all"}
    )  # fmt: skip
    for number in range(count):
        while True:
            try:
                producer.produce(topic, values[number % len(values)], partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.05)
    if producer.flush(120):
        raise RuntimeError("Kafka did not take the benchmark's messages")


def drain(
    program: str, command: list[str], environment: dict[str, str], root: Path, expected: int, size: int, partitions: int
) -> Result:
    """Start a consumer, wait until everything is in S3, stop it."""
    bucket = root / environment["BUCKET"]
    load = os.getloadavg()[0]
    with servers.process(command, root.parent / f"{program}-{size}.log", environment) as child:
        began = monotonic()
        first = finished = 0.0
        files = 0
        wanted = max(expected // size - partitions, 1)
        while not finished:
            sleep(0.1)
            if child.poll() is not None:
                raise RuntimeError(f"{program} ended with {child.returncode}: see {root.parent}/{program}-{size}.log")
            files = _count(bucket)
            if files and not first:
                first = monotonic()
            if files >= wanted:
                finished = monotonic()
            if monotonic() - began > 600:
                raise RuntimeError(f"{program}: {files} of {wanted} files after 600 s")
        sleep(0.3)
        fields = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / TICKS
        status = Path(f"/proc/{child.pid}/status").read_text()
        peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024
    seconds = max(finished - first, 0.1)
    return Result(
        program, size, partitions, expected, files, round(seconds, 2), round(expected / seconds),
        round(cpu / expected * 1e6, 2), peak, round(load, 1),
    )  # fmt: skip


def _count(bucket: Path) -> int:
    return sum(
        1 for _, folders, names in os.walk(bucket) for name in names if name.endswith(".json") and name[0] != "_"
    ) if bucket.exists() else 0  # fmt: skip


def programs(options: argparse.Namespace) -> dict[str, list[str]]:
    """Name and command of each competitor."""
    found = {
        "ours": [sys.executable, "-m", "include.ingest", "consume"],
        "floor": [sys.executable, "-m", "benchmarks.landing.floor"],
    }
    if options.benthos:
        found["benthos"] = [options.benthos, "-c", str(HERE / "benthos.yaml")]
    if options.quix:
        found["quix"] = [options.quix, str(HERE / "quix_peer.py")]
    return {name: command for name, command in found.items() if not options.only or name in options.only}


def settings(bootstrap: str, endpoint: str, topic: str, bucket: str, group: str, size: int) -> dict[str, str]:
    """Environment for every competitor."""
    return KEYS | {
        "BOOTSTRAP": bootstrap, "TOPIC": topic, "GROUP": group, "SIZE": str(size), "BUCKET": bucket, "S3": endpoint,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap, "KAFKA_TOPIC": topic, "KAFKA_GROUP": group, "S3_BUCKET": bucket,
        "AWS_ENDPOINT_URL": endpoint, "CONSUMER_BATCH_RECORDS": str(size), "CONSUMER_HTTP_PORT": "0",
        "CONSUMER_CLOUDWATCH": "false",
    }  # fmt: skip


def table(results: list[Result]) -> str:
    """The results as a Markdown table, with ratios to ours."""
    ours = {result.records_a_file: result for result in results if result.program == "ours"}
    lines = [
        "| program | records a file | msg/s | ours is | CPU-µs a message | peak RSS | load before |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in sorted(results, key=lambda one: (one.records_a_file, -one.messages_per_second)):
        mine = ours.get(result.records_a_file)
        ratio = f"{mine.messages_per_second / result.messages_per_second:.2f} x" if mine else ""
        lines.append(
            f"| {result.program} | {result.records_a_file:,} | {result.messages_per_second:,} | {ratio} | "
            f"{result.cpu_us_a_message} | {result.peak_rss_mb} MB | {result.load} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.landing", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--versitygw", default="versitygw")
    parser.add_argument("--benthos")
    parser.add_argument("--quix", help="a Python that has quixstreams[s3]")
    parser.add_argument("--only", nargs="*", help="names of competitors")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="landing-") as temporary:
        folder = Path(temporary)
        with servers.kafka_server(folder / "kafka") as kafka, versitygw(options.versitygw, folder) as (endpoint, root):
            topic = "benchmark"
            fill(kafka.bootstrap, topic, options.messages, options.partitions)
            for size in options.sizes:
                for name, command in programs(options).items():
                    bucket = f"{name}-{size}"
                    (root / bucket).mkdir()
                    group = f"{name}-{size}-{int(time())}"
                    environment = settings(kafka.bootstrap, endpoint, topic, bucket, group, size)
                    result = drain(name, command, environment, root, options.messages, size, options.partitions)
                    results.append(result)
                    print(json.dumps(asdict(result)), flush=True)
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
