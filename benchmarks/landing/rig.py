"""The benchmark's servers (Kafka and an S3 gateway), its backlog, and one timed drain of the backlog."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import Producer

from benchmarks.landing.cores import TICKS, Cores, busy_seconds, running_on
from include.ingest.topic import ensure_topic
from include.settings import KafkaSettings
from tests import servers
from tests.chaos.rig import wait_until_committed

KEYS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark-secret"}
HERE = Path(__file__).parent
BUILT = HERE.parents[1] / ".local" / "bench"
"""`make bench` builds the gateway and the peer programs in this folder."""
MEMORY = Path("/dev/shm")  # noqa: S108 - TemporaryDirectory makes the name
DRAIN_SECONDS = 600.0
FEW_FILES = 200
"""Until there are 200 files, counting them costs little, so a short drain into large files is looked at often."""

RUNTIME = str(BUILT / "python" / "bin" / "python")
"""The Python of our consumer and of benchmarks.landing.floor. Quix Streams' environment has the same interpreter."""

PROGRAMS = {
    "ours": [RUNTIME, "-m", "include.ingest", "consume"],
    "floor": [RUNTIME, "-m", "benchmarks.landing.floor"],
    "native": [str(BUILT / "native")],
    "bento": [str(BUILT / "bento"), "-c", str(HERE / "benthos.yaml")],
    "benthos": [str(BUILT / "benthos"), "-c", str(HERE / "benthos.yaml")],
    "quix": [str(BUILT / "quix" / "bin" / "python"), str(HERE / "quix_peer.py")],
}


@dataclass(frozen=True, slots=True)
class Drain:
    """One drain of the backlog.

    `cpu_us` is the user and system time of the whole process for one message; `steady_cpu_us` excludes the time before
    the first object. `servers_busy` is the share of the servers' cores that was used meanwhile: near 1 the servers
    decide the speed. `load` is the machine's load average before the drain, which shows a disturbed run.
    """

    program: str
    records_a_file: int
    partitions: int
    processes: int
    messages: int
    files: int
    seconds: float
    messages_per_second: float
    cpu_us: float
    steady_cpu_us: float
    peak_rss_mb: int
    servers_busy: float
    load: float


def memory_folder() -> Path | None:
    """Where servers keep their data: a memory file system if the machine has one and TMPDIR names no other place."""
    return MEMORY if os.access(MEMORY, os.W_OK) and "TMPDIR" not in os.environ else None


class Gateway:
    """versitygw over a folder. It can be frozen, killed, and started again on the same port.

    It keeps connections open, as S3 does. By default versitygw closes each connection after one request.
    """

    def __init__(self, folder: Path) -> None:
        self.buckets = folder / "buckets"
        self.buckets.mkdir(parents=True)
        self._log = folder / "versitygw.log"
        self._port = servers.free_port()
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self._stack = ExitStack()

    def start(self) -> None:
        """Start the gateway and wait until it answers."""
        command = [str(BUILT / "versitygw"), "--port", f"127.0.0.1:{self._port}", "--quiet", "--keep-alive"]
        command += ["posix", str(self.buckets)]
        secrets = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
        self._process = self._stack.enter_context(servers.process(command, self._log, secrets))
        s3 = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        deadline = monotonic() + 20
        while True:
            try:
                s3.list_buckets()
                return
            except (BotoCoreError, ClientError):
                if monotonic() > deadline:
                    raise
                sleep(0.2)

    def cpu_seconds(self) -> float:
        """User and system time of the process until now."""
        return _cpu_seconds(self._process)

    def freeze(self) -> None:
        """Suspend the process: it accepts connections and does not answer."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a suspended process continue."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process: connections are refused."""
        self._process.kill()
        self._process.wait(20)

    def close(self) -> None:
        """End the gateway."""
        self._stack.close()


@dataclass(frozen=True, slots=True)
class Stage:
    """The running servers and a folder for logs."""

    bootstrap: str
    gateway: Gateway
    folder: Path
    cores: Cores


@contextmanager
def stage(folder: Path, cores: Cores | None = None) -> Iterator[Stage]:
    """Kafka and the gateway; both have their data under `folder`. Without `cores` they use what is there."""
    everywhere = frozenset(os.sched_getaffinity(0))
    cores = cores or Cores(everywhere, everywhere)
    gateway = Gateway(folder)
    with running_on(cores.servers):
        try:
            gateway.start()
            with servers.kafka_server(folder / "kafka") as kafka:
                yield Stage(kafka.bootstrap, gateway, folder, cores)
        finally:
            gateway.close()


def fill(bootstrap: str, topic: str, count: int, partitions: int) -> None:
    """Send `count` quotes to the topic, the same number to each partition."""
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


def settings(on: Stage, topic: str, bucket: str, size: int) -> dict[str, str]:
    """The environment of every program. Bucket and group have the same name."""
    return KEYS | {
        "BOOTSTRAP": on.bootstrap, "TOPIC": topic, "GROUP": bucket, "SIZE": str(size), "BUCKET": bucket,
        "S3": on.gateway.endpoint, "KAFKA_BOOTSTRAP_SERVERS": on.bootstrap, "KAFKA_TOPIC": topic, "KAFKA_GROUP": bucket,
        "S3_BUCKET": bucket, "AWS_ENDPOINT_URL": on.gateway.endpoint, "CONSUMER_BATCH_RECORDS": str(size),
        "CONSUMER_HTTP_PORT": "0", "CONSUMER_CLOUDWATCH": "false",
    }  # fmt: skip


def drain(
    on: Stage, program: str, topic: str, messages: int, size: int, *, partitions: int = 1, processes: int = 1,
    after_files: int = 0, trouble: Callable[[], None] | None = None,
) -> Drain:  # fmt: skip
    """Start consumers, wait until every message is in S3 and committed, and stop the consumers.

    The measured span begins with the first object and ends with the last, by the times of the gateway's files.
    `trouble` is called once, after `after_files` objects.

    Raises:
        RuntimeError: a consumer ended, was too slow, or did not land every message.
    """
    bucket = f"{program}-{size}-{topic}-{int(monotonic() * 1000)}"
    root = on.gateway.buckets / bucket
    root.mkdir()
    load = os.getloadavg()[0]
    environment, log = settings(on, topic, bucket, size), on.folder / f"{bucket}.log"
    with ExitStack() as stack:
        with running_on(on.cores.program):
            children = [
                stack.enter_context(servers.process(PROGRAMS[program], log, environment)) for _ in range(processes)
            ]
        began, before, cpu, count, wanted = monotonic(), 0.0, 0.0, 0, messages // size
        first, last = _Usage(0.0, 0.0), _Usage(0.0, 0.0)
        while True:
            sleep(0.02 if count < FEW_FILES else 0.2)
            if any(child.poll() is not None for child in children):
                raise RuntimeError(f"{program} ended with {[child.poll() for child in children]}: {log.read_text()}")
            files_now = len(_files(root))
            if files_now != count:
                cpu, last = sum(_cpu_seconds(child) for child in children), _Usage.now(on.cores)
                before, first, count = before or cpu, last if not count else first, files_now
            if trouble is not None and count > after_files:
                trouble()
                trouble = None
            if count >= wanted and not wait_until_committed(on.bootstrap, bucket, topic, partitions, 0):
                break
            if monotonic() - began > DRAIN_SECONDS:
                raise RuntimeError(f"{program}: {count} of {wanted} files after {DRAIN_SECONDS:.0f} s")
        peak = max(_peak_rss_mb(child) for child in children)
    files = _files(root)
    landed = sum(path.read_bytes().count(b'"last_updated"') for path in files)
    if landed != messages:
        raise RuntimeError(f"{program} landed {landed} of {messages} messages")
    times = sorted(path.stat().st_mtime_ns for path in files)
    shutil.rmtree(root)
    seconds = (times[-1] - times[0]) / 1e9
    return Drain(
        program, size, partitions, processes, messages, len(files), round(seconds, 2), round(messages / seconds),
        round(cpu / messages * 1e6, 2), round((cpu - before) / messages * 1e6, 2), peak,
        round(last.share_since(first, len(on.cores.servers)), 2), round(load, 1),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Usage:
    """A moment, and the seconds until then that the servers' cores have worked."""

    at: float
    busy: float

    @classmethod
    def now(cls, cores: Cores) -> _Usage:
        return cls(monotonic(), busy_seconds(cores.servers))

    def share_since(self, earlier: _Usage, cores: int) -> float:
        return (self.busy - earlier.busy) / ((self.at - earlier.at) * cores) if self.at > earlier.at else 0.0


def _files(folder: Path) -> list[Path]:
    return [
        Path(at, name)
        for at, _, names in os.walk(folder)
        for name in names
        if name.endswith((".json", ".jsonl")) and name[0] != "_"
    ]


def _cpu_seconds(child: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak_rss_mb(child: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{child.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024
