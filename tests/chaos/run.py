"""One seeded run of chaos."""

from __future__ import annotations

import random
import signal
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import boto3

from include.ingest.consumer import ASSIGNMENT_DIFFERS
from include.ingest.topic import ensure_topic
from include.local import broker
from include.settings import KafkaSettings
from tests import servers
from tests.chaos.checker import Verdict, check
from tests.chaos.proxy import CALM, OUTAGE, STORM, FaultProxy
from tests.chaos.rig import ConsumerProcess, Load, wait_until_committed

PARTITIONS = 6
CONSUMERS = 3
WORK_SECONDS = 6.0
"""Longest wait for S3 requests between two faults. No request comes while Kafka is down or all consumers stall."""
SESSION_MS = 6000
"""The shortest session that the broker allows, so that a stall that exceeds the session is still short."""
STALL_SECONDS = (7.0, 12.0)
STORM_SECONDS = 5.0
"""Length of the storm after the last fault. The backlog lands during the storm."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Number of faults in one run."""

    kills: int = 22
    stalls: int = 6
    broker_restarts: int = 2
    outages: int = 3
    rate: float = 300.0
    pause_seconds: tuple[float, float] = (0.2, 1.5)
    requests: int = 10
    """S3 requests between two faults, so that a fault meets consumers that work, not only consumers that start."""


STARTED = '"message": "started"'

SHORT = Plan(kills=3, stalls=1, broker_restarts=0, outages=1, rate=200.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict of a run, and its faults: `disruptions` of consumers, broker and S3, `faults` of S3 requests."""

    seed: int
    verdict: Verdict
    disruptions: Counter[str]
    faults: Counter[str]
    seconds: float

    def line(self) -> str:
        """A summary in one line."""
        state = "ok" if not self.verdict.errors else f"FAILED ({len(self.verdict.errors)} errors)"
        return (
            f"seed {self.seed}: {state}; {self.verdict.messages} acknowledged, {self.verdict.landed} landed, "
            f"{self.verdict.dead} dead letters, {self.verdict.objects} objects; "
            + ", ".join(f"{count} {name}" for name, count in sorted(self.disruptions.items()))
            + "; S3 "
            + ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
            + f"; {self.seconds:.0f} s"
        )


def run(seed: int, plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Start everything, break it as `seed` decides, repair it, and check S3."""
    started = monotonic()
    topic, bucket, group = (f"{name}-{seed}-{uuid.uuid4().hex[:8]}" for name in ("chaos", "chaos", "group"))
    with ExitStack() as stack:
        kafka = RestartableBroker(folder / "kafka")
        stack.callback(kafka.stop)
        kafka.start()
        endpoint = stack.enter_context(servers.aws_server(folder / "aws"))
        host, port = endpoint.removeprefix("http://").split(":")
        proxy = FaultProxy((host, int(port)), seed)
        stack.callback(proxy.close)
        s3 = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )  # fmt: skip
        s3.create_bucket(Bucket=bucket)
        ensure_topic(KafkaSettings(bootstrap_servers=kafka.bootstrap, topic=topic), PARTITIONS, 1, None)
        consumers = [
            ConsumerProcess(
                number, environment(kafka.bootstrap, topic, group, bucket, proxy.endpoint), folder / f"c{number}.log"
            )
            for number in range(CONSUMERS)
        ]
        for consumer in consumers:
            stack.callback(consumer.kill)
            consumer.start()
        load = Load(kafka.bootstrap, topic, PARTITIONS, seed, plan.rate)
        load.start()
        sleep(4)
        disruptions = _break(random.Random(seed), plan, consumers, kafka, proxy, say)
        proxy.weather = CALM
        load.finish()
        _heal(consumers)
        missing = wait_until_committed(kafka.bootstrap, group, topic, PARTITIONS, 120)
        exits = [consumer.terminate() for consumer in consumers]
        verdict = check(s3, bucket, load.acknowledged)
        if missing:
            verdict.errors.append(f"not committed within 120 s: {missing}")
        if any(ASSIGNMENT_DIFFERS in consumer.log.read_text() for consumer in consumers):
            verdict.errors.append(f"a consumer logged: {ASSIGNMENT_DIFFERS}")
        if any(exits):
            verdict.errors.append(f"exit statuses {exits}")
        return Outcome(seed, verdict, disruptions, proxy.counts, monotonic() - started)


def environment(bootstrap: str, topic: str, group: str, bucket: str, endpoint: str) -> dict[str, str]:
    """A consumer's settings: batches are small and times short, so that many PUTs and rebalances coincide."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_TOPIC": topic,
        "KAFKA_GROUP": group,
        "KAFKA_OPTIONS": f'{{"session.timeout.ms": {SESSION_MS}, "heartbeat.interval.ms": 500, "log_level": 3}}',
        "S3_BUCKET": bucket,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "CONSUMER_BATCH_RECORDS": "50",
        "CONSUMER_BATCH_AGE_SECONDS": "0.7",
        "CONSUMER_PARALLEL_PUTS": "4",
        "CONSUMER_PUT_TIMEOUT_SECONDS": "2",
        "CONSUMER_REVOKE_FLUSH_SECONDS": "2",
        "CONSUMER_HTTP_PORT": "0",
        "CONSUMER_CLOUDWATCH": "false",
    }


class RestartableBroker:
    """Apache Kafka in a process that can be restarted on the same ports."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._port, self._controller_port = servers.free_port(), servers.free_port()
        self._stack = ExitStack()
        self.bootstrap = f"127.0.0.1:{self._port}"

    def start(self) -> None:
        self._state.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "include.local.broker", "--state", str(self._state), "--kind", "kafka"]
        command += ["--port", str(self._port), "--controller-port", str(self._controller_port)]
        self._process = self._stack.enter_context(servers.process(command, self._state / "broker.log"))
        broker.wait_until_ready(self.bootstrap, seconds=60)

    def stop(self) -> None:
        self._stack.close()
        self._stack = ExitStack()

    def restart(self, *, kill: bool) -> None:
        if kill:
            self._process.kill()
            self._process.wait(20)
        self.stop()
        self.start()


def _break(
    dice: random.Random,
    plan: Plan,
    consumers: list[ConsumerProcess],
    kafka: RestartableBroker,
    proxy: FaultProxy,
    say: Callable[[str], None],
) -> Counter[str]:
    """Carry out the plan's faults in the order of `dice`, during the proxy's storm."""
    faults = (
        ["kill"] * plan.kills + ["stall"] * plan.stalls + ["broker"] * plan.broker_restarts + ["outage"] * plan.outages
    )
    dice.shuffle(faults)
    wakes: list[tuple[float, ConsumerProcess]] = []
    proxy.weather = STORM
    outage_until = 0.0
    names = {"kill": "SIGKILLs", "stall": "stalls", "broker": "broker restarts", "outage": "S3 outages"}
    disruptions: Counter[str] = Counter()
    for fault in faults:
        before, deadline = proxy.requests, monotonic() + WORK_SECONDS
        while proxy.requests < before + plan.requests and monotonic() < deadline:
            sleep(0.05)
            wakes = _wake(wakes, monotonic())
            if proxy.weather.outage and monotonic() > outage_until:
                proxy.weather = STORM
        sleep(dice.uniform(*plan.pause_seconds))
        now = monotonic()
        wakes = _wake(wakes, now)
        stalled = {id(consumer) for _, consumer in wakes}
        awake = [consumer for consumer in consumers if id(consumer) not in stalled]
        if fault == "stall" and len(awake) == 1:  # another consumer must be able to take over
            sleep(max(0.0, min(at for at, _ in wakes) - monotonic()))
            wakes = _wake(wakes, monotonic())
            stalled = {id(consumer) for _, consumer in wakes}
            awake = [consumer for consumer in consumers if id(consumer) not in stalled]
        say(fault)
        disruptions[names[fault]] += 1
        if fault == "outage":
            proxy.weather, outage_until = OUTAGE, now + dice.uniform(2, 6)
        elif fault == "broker":
            kafka.restart(kill=dice.random() < 0.5)
        elif fault == "stall":
            victim = dice.choice(awake)
            victim.signal(signal.SIGSTOP)
            wakes.append((monotonic() + dice.uniform(*STALL_SECONDS), victim))
        else:
            victim = dice.choice(awake)
            victim.kill()
            victim.start()
    while wakes or monotonic() < outage_until:
        sleep(0.2)
        wakes = _wake(wakes, monotonic())
    proxy.weather = STORM
    sleep(STORM_SECONDS)
    return disruptions


def _wake(wakes: list[tuple[float, ConsumerProcess]], now: float) -> list[tuple[float, ConsumerProcess]]:
    for at, consumer in wakes:
        if at <= now:
            consumer.signal(signal.SIGCONT)
    return [(at, consumer) for at, consumer in wakes if at > now]


def _heal(consumers: list[ConsumerProcess]) -> None:
    """Start the consumers that have ended. Wait until they handle signals: during imports a signal ends Python."""
    for consumer in consumers:
        if not consumer.running:
            starts = consumer.log.read_text().count(STARTED)
            consumer.start()
            deadline = monotonic() + 60
            while consumer.log.read_text().count(STARTED) == starts and monotonic() < deadline:
                sleep(0.1)
