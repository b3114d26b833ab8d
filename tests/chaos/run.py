"""One seeded run of chaos."""

from __future__ import annotations

import random
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from string import Template
from time import monotonic, sleep

import boto3
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from include.ingest.consumer import ASSIGNMENT_DIFFERS, EXIT_CLEAN
from include.ingest.shutdown import EXIT_UNLANDED
from include.ingest.topic import ensure_topic
from include.local import broker
from include.settings import KafkaSettings
from tests import servers
from tests.chaos import whereabouts
from tests.chaos.checker import Verdict, check
from tests.chaos.fuzz import Fuzz, FuzzLoad, holes, visible
from tests.chaos.proxy import CALM, OUTAGE, STORM, FaultProxy
from tests.chaos.rig import ConsumerProcess, Load, wait_until_committed

PARTITIONS = 6
CONSUMERS = 3
WORK_SECONDS = 6.0
"""Longest wait for S3 requests between two faults. No request comes while Kafka is down or all consumers stall."""
SESSION_MS = 6000
"""The shortest session that the broker allows, so that a stall that exceeds the session is still short."""
LANDED_SECONDS = 400.0
"""Only a partition that stands still takes longer. A backlog of every message takes a minute on two cores."""
SAMPLE = 200
"""Random offsets at which `where` is held against the checker."""
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
    joins: int = 4
    leaves: int = 4
    denials: int = 3
    rate: float = 300.0
    pause_seconds: tuple[float, float] = (0.2, 1.5)
    requests: int = 10
    """S3 requests between two faults, so that a fault meets consumers that work, not only consumers that start."""
    fuzz_pause_seconds: float = 0.5
    """Pause after ten messages of the fuzz, among which are transactions."""


STARTED = '"message": "started"'

SHORT = Plan(kills=2, stalls=1, broker_restarts=0, outages=0, joins=1, leaves=1, denials=1, rate=200.0)


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
        clock_jumps = seed % 2 == 0
        if clock_jumps:
            use_create_time(kafka.bootstrap, topic)
        consumers = [
            ConsumerProcess(
                number, environment(kafka.bootstrap, topic, group, bucket, proxy.endpoint), folder / f"c{number}.log"
            )
            for number in range(CONSUMERS + 1)  # the last one joins and leaves
        ]
        for consumer in consumers:
            stack.callback(consumer.kill)
        for consumer in consumers[:CONSUMERS]:
            consumer.start()
        load = Load(kafka.bootstrap, topic, PARTITIONS, seed, plan.rate, clock_jumps=clock_jumps)
        load.start()
        fuzz = FuzzLoad(Fuzz(kafka.bootstrap, topic, PARTITIONS, seed, own_times=clock_jumps), plan.fuzz_pause_seconds)
        fuzz.start()
        sleep(4)
        breaker = Breaker(random.Random(seed), plan, consumers, kafka, Access(kafka.bootstrap, topic), proxy, say)
        breaker.run()
        disruptions = breaker.counts
        proxy.weather = CALM
        load.finish()
        fuzz.finish()
        breaker.look_for_ended()
        _heal(consumers[:CONSUMERS])
        missing = wait_until_committed(kafka.bootstrap, group, topic, PARTITIONS, LANDED_SECONDS)
        exits = [consumer.terminate() for consumer in consumers[:CONSUMERS]]
        seen, ends = visible(kafka.bootstrap, topic, PARTITIONS)
        verdict = check(s3, bucket, [*load.acknowledged, *fuzz.fuzz.committed(seen)], holes(seen, ends))
        verdict.errors += breaker.errors
        settings = environment(kafka.bootstrap, topic, group, bucket, endpoint)
        verdict.errors += whereabouts.compare(settings, seed, verdict.places, ends, SAMPLE)
        if missing:
            verdict.errors.append(f"not committed within {LANDED_SECONDS:.0f} s: {missing}")
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
        "CONSUMER_SHUTDOWN_GRACE_SECONDS": "5",
        "CONSUMER_MAX_BUFFER_BYTES": str(4 * 2**20),
        "CONSUMER_ALLOW_CREATE_TIME": "true",
        "CONSUMER_HTTP_PORT": "0",
        "CONSUMER_CLOUDWATCH": "false",
    }


def use_create_time(bootstrap: str, topic: str) -> None:
    """Let the producer set the time of each record."""
    settings = {
        "message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(2**63 - 1), "retention.ms": "-1",
    }  # fmt: skip
    changes = [ConfigEntry(*pair, incremental_operation=AlterConfigOpType.SET) for pair in settings.items()]
    resource, admin = (
        ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes),
        AdminClient({"bootstrap.servers": bootstrap}),
    )
    admin.incremental_alter_configs([resource])[resource].result()


class Access:
    """The right to read the topic. Every client is the same user, who may do everything else."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
        self._topic = topic
        self._create(AclOperation.ALL, AclPermissionType.ALLOW)

    def _create(self, operation: AclOperation, permission: AclPermissionType) -> None:
        binding = AclBinding(*self._place, "User:ANONYMOUS", "*", operation, permission)
        for answer in self._admin.create_acls([binding]).values():
            answer.result()

    @property
    def _place(self) -> tuple[ResourceType, str, ResourcePatternType]:
        return ResourceType.TOPIC, self._topic, ResourcePatternType.LITERAL

    def take(self) -> None:
        """Nobody may read the topic any more."""
        self._create(AclOperation.READ, AclPermissionType.DENY)

    def give_back(self) -> None:
        """Everybody may read it again."""
        denials = AclBindingFilter(*self._place, "User:ANONYMOUS", "*", AclOperation.READ, AclPermissionType.DENY)
        for answer in self._admin.delete_acls([denials]).values():
            answer.result()


SETTINGS = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
"""
"""Access rules, and a look at each second for transactions that are open too long."""


class RestartableBroker:
    """Apache Kafka in a process that can be restarted on the same ports; it obeys access rules."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._port, self._controller_port = servers.free_port(), servers.free_port()
        self._stack = ExitStack()
        self.bootstrap = f"127.0.0.1:{self._port}"

    def start(self) -> None:
        program, *classes = broker.java_command()
        config, java = self._state / "server.properties", [program, *broker.JAVA_OPTIONS, *classes]
        if not config.exists():
            self._state.mkdir(parents=True, exist_ok=True)
            base = Template(broker.CONFIG.read_text()).substitute(
                port=self._port, controller_port=self._controller_port, data=self._state / "data"
            )
            config.write_text(base + SETTINGS)
            format_log = ["kafka.tools.StorageTool", "format", "-t", broker.CLUSTER_ID, "-c", str(config)]
            subprocess.run([*java, *format_log], check=True, capture_output=True)
        command = [*java, "kafka.Kafka", str(config)]
        self._process = self._stack.enter_context(servers.process(command, self._state / "broker.log"))
        broker.wait_until_ready(self.bootstrap, seconds=180)

    def stop(self) -> None:
        self._stack.close()
        self._stack = ExitStack()

    def restart(self, *, kill: bool) -> None:
        if kill:
            self._process.kill()
            self._process.wait(20)
        self.stop()
        self.start()


class Breaker:
    """Carries out the plan's faults in the order of `dice`, during the proxy's storm.

    `counts` are the faults by name. `errors` names each consumer that ended although nobody ended it.
    """

    def __init__(
        self, dice: random.Random, plan: Plan, consumers: list[ConsumerProcess], kafka: RestartableBroker,
        access: Access, proxy: FaultProxy, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        """The last consumer joins and leaves; the others always run."""
        self._dice, self._plan, self._say = dice, plan, say
        self._consumers, self._guest = consumers[:-1], consumers[-1]
        self._kafka, self._access, self._proxy = kafka, access, proxy
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._away: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []

    def run(self) -> None:
        plan = self._plan
        faults: list[tuple[str, Callable[[], None]]] = [
            *[("SIGKILLs", self._kill)] * plan.kills, *[("stalls", self._stall)] * plan.stalls,
            *[("broker restarts", self._restart_broker)] * plan.broker_restarts,
            *[("S3 outages", self._outage)] * plan.outages, *[("joins", self._join)] * plan.joins,
            *[("leaves", self._leave)] * plan.leaves, *[("denials", self._deny)] * plan.denials,
        ]  # fmt: skip
        self._dice.shuffle(faults)
        self._proxy.weather = STORM
        for name, fault in faults:
            self._let_work()
            self._say(name)
            self.counts[name] += 1
            fault()
        while self._later:
            sleep(0.1)
            self._do_what_is_due()
        self._proxy.weather = STORM
        sleep(STORM_SECONDS)

    def _let_work(self) -> None:
        """Wait for S3 requests, so that the next fault meets consumers that work."""
        before, deadline = self._proxy.requests, monotonic() + WORK_SECONDS
        while self._proxy.requests < before + self._plan.requests and monotonic() < deadline:
            sleep(0.05)
            self._do_what_is_due()
        end = monotonic() + self._dice.uniform(*self._plan.pause_seconds)
        while monotonic() < end or not self._present():
            sleep(0.05)
            self._do_what_is_due()
        self.look_for_ended()

    def _in(self, seconds: float, action: Callable[[], None]) -> None:
        self._later.append((monotonic() + seconds, action))

    def _do_what_is_due(self) -> None:
        now = monotonic()
        due = [action for at, action in self._later if at <= now]
        self._later = [(at, action) for at, action in self._later if at > now]
        for action in due:
            action()

    def look_for_ended(self) -> None:
        """Name the consumers that ended by themselves, and start them again."""
        for consumer in self._present():
            status = consumer.ended()
            if status is not None:
                self.errors.append(f"consumer {consumer.number} ended by itself with status {status}")
                consumer.start()

    def _present(self) -> list[ConsumerProcess]:
        """The consumers that are not stalled and do not leave."""
        return [consumer for consumer in self._consumers if consumer.number not in self._away]

    def _come_back(self, consumer: ConsumerProcess) -> None:
        self._away.discard(consumer.number)

    def _kill(self) -> None:
        victim = self._dice.choice(self._present())
        victim.kill()
        victim.start()

    def _stall(self) -> None:
        victim = self._dice.choice(self._present())
        if len(self._present()) == 1:
            return  # another consumer must be able to take over
        victim.signal(signal.SIGSTOP)
        self._away.add(victim.number)

        def wake() -> None:
            victim.signal(signal.SIGCONT)
            self._come_back(victim)

        self._in(self._dice.uniform(*STALL_SECONDS), wake)

    def _restart_broker(self) -> None:
        self._kafka.restart(kill=self._dice.random() < 0.5)

    def _outage(self) -> None:
        self._proxy.weather = OUTAGE
        self._in(self._dice.uniform(2, 6), self._end_outage)

    def _end_outage(self) -> None:
        self._proxy.weather = STORM

    def _leave(self) -> None:
        """A consumer leaves in order and comes back; what it cannot land in time is landed by the others."""
        victim = self._dice.choice(self._present())
        self._away.add(victim.number)
        victim.signal(signal.SIGTERM)
        self._in(self._dice.uniform(1, 7), lambda: self._after_leaving(victim, again=True))

    def _after_leaving(self, consumer: ConsumerProcess, *, again: bool) -> None:
        status = consumer.ended()
        if status is None:
            self._in(0.5, lambda: self._after_leaving(consumer, again=again))
            return
        # During imports and before the signal handler is there, a signal ends Python.
        if status not in (EXIT_CLEAN, EXIT_UNLANDED, -signal.SIGTERM):
            self.errors.append(f"consumer {consumer.number} left with status {status}")
        if again:
            consumer.start()
        self._come_back(consumer)

    def _join(self) -> None:
        """A guest joins while S3 is away, so that reading is paused while partitions move; it leaves after that."""
        if self._guest.running:
            return
        self._proxy.weather = OUTAGE
        self._guest.start()
        self._in(self._dice.uniform(4, 7), self._end_outage)
        self._in(self._dice.uniform(6, 10), lambda: self._guest.signal(signal.SIGTERM))
        self._in(11, lambda: self._after_leaving(self._guest, again=False))

    def _deny(self) -> None:
        self._access.take()
        self._in(self._dice.uniform(2, 6), self._access.give_back)


def _heal(consumers: list[ConsumerProcess]) -> None:
    """Start the consumers that have ended. Wait until they handle signals: during imports a signal ends Python."""
    for consumer in consumers:
        if not consumer.running:
            starts = consumer.log.read_text().count(STARTED)
            consumer.start()
            deadline = monotonic() + 60
            while consumer.log.read_text().count(STARTED) == starts and monotonic() < deadline:
                sleep(0.1)
