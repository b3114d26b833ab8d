"""A consumer that is killed, stopped, or held by a server that hangs, in each state from its start to its end.

It ends within its grace, says what is not landed, and loses nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import httpx
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from include.ingest.topic import ensure_topic
from include.local import broker
from include.settings import KafkaSettings
from tests.chaos.proxy import FaultProxy, Weather
from tests.chaos.rig import ConsumerProcess, wait_until_committed
from tests.integration.ingest.stage import PARTITIONS, Stage, object_count, until, verdict
from tests.servers import free_port, process
from tests.stalls import Stalls

pytestmark = pytest.mark.servers

GRACE = 4.0
LATE = 10.0
"""Time of a slow machine to run the end, besides the grace. What hangs here would hang for minutes."""


@dataclass
class Broker:
    """A broker of its own, which a test may stop like a machine that hangs: connected and silent."""

    bootstrap: str
    child: subprocess.Popen[bytes]

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.child.pid, number)


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if broker.available_kind()[0] != "kafka":
        pytest.skip("needs Apache Kafka (Java 17 and its jars)")
    state, port = tmp_path_factory.mktemp("silent"), free_port()
    command = [sys.executable, "-m", "include.local.broker", "--state", str(state), "--port", str(port)]
    with process([*command, "--controller-port", str(free_port())], state / "broker.log") as child:
        broker.wait_until_ready(f"127.0.0.1:{port}", seconds=60)
        yield Broker(f"127.0.0.1:{port}", child)
        os.killpg(child.pid, signal.SIGCONT)


@pytest.fixture
def http() -> int:
    return free_port()


@pytest.fixture
def proxy(s3: str) -> Iterator[FaultProxy]:
    host, port = s3.removeprefix("http://").split(":")
    proxy = FaultProxy((host, int(port)), 1)
    yield proxy
    proxy.close()


@pytest.fixture
def stage(own_broker: Broker, topic: str, bucket: str, s3: str, tmp_path: Path, http: int) -> Iterator[Stage]:
    ensure_topic(KafkaSettings(bootstrap_servers=own_broker.bootstrap, topic=topic), PARTITIONS, 1, None)
    stage = Stage(own_broker.bootstrap, topic, bucket, s3, tmp_path)
    stage.environment |= {"CONSUMER_SHUTDOWN_GRACE_SECONDS": str(GRACE), "CONSUMER_HTTP_PORT": str(http)}
    yield stage
    own_broker.signal(signal.SIGCONT)
    stage.end()


def health(http: int) -> dict[str, Any]:
    return dict(httpx.get(f"http://127.0.0.1:{http}/healthz").json())


def ends_in_time(consumer: ConsumerProcess) -> int:
    """Send SIGTERM; returns the exit status."""
    begin = monotonic()
    status = consumer.terminate(120)
    assert monotonic() - begin < GRACE + LATE, consumer.log.read_text()
    return status


def last_line(consumer: ConsumerProcess, message: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in consumer.log.read_text().splitlines() if line.startswith("{")]
    return dict([line for line in lines if line["message"] == message][-1])


def lands_later(stage: Stage, *loads: Any, **changes: str) -> None:
    """A consumer after this one lands everything once; `changes` are environment variables."""
    last = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5", **changes)
    until(lambda: '"assigned"' in last.log.read_text(), "the next consumer")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert last.terminate() == 0
    assert verdict(stage, *loads).errors == []


def _buffered(http: int) -> float:
    lines = httpx.get(f"http://127.0.0.1:{http}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("lakehouse_consumer_buffered_bytes")).split()[1])


def test_a_kafka_that_is_silent_from_the_start_does_not_hold_the_end(stage: Stage, own_broker: Broker) -> None:
    own_broker.signal(signal.SIGSTOP)
    consumer = stage.consumer()
    until(lambda: _connected(consumer), "a connection")
    assert ends_in_time(consumer) in (0, 3)


def _connected(consumer: ConsumerProcess) -> bool:
    """Whether the process answers on its port: it is starting."""
    return httpx.get(f"http://127.0.0.1:{consumer.environment['CONSUMER_HTTP_PORT']}/healthz").status_code == 503


class Scene:
    """A consumer on its way into a state; `fate` is what happens to it there."""

    def __init__(self, stage: Stage, broker: Broker, proxy: FaultProxy, http: int, fate: str) -> None:
        self.stage, self.broker, self.proxy, self.http, self.fate = stage, broker, proxy, http, fate
        self.fault: Literal["slow", "hang"] = "hang" if fate == "hang" else "slow"
        self.objects = object_count(stage)

    def start(self, age: float = 60.0) -> None:
        # A static member returns at once, whatever became of the process before it.
        changes = {"AWS_ENDPOINT_URL": self.proxy.endpoint, "CONSUMER_GROUP_INSTANCE_ID": "one"}
        grace = GRACE if self.fate == "hang" else 120.0
        self.consumer = self.stage.consumer(
            CONSUMER_BATCH_AGE_SECONDS=str(age), CONSUMER_SHUTDOWN_GRACE_SECONDS=str(grace), **changes
        )

    def disturb(self, fault: Literal["slow", "hang"], path: str, *methods: str) -> None:
        """From now on these requests to S3 take long, or hang."""
        self.before = self.proxy.counts[fault], self.proxy.ended[fault]
        slow, hang = float(fault == "slow"), float(fault == "hang")
        self.proxy.weather = Weather(slow=slow, hang=hang, path=path, methods=frozenset(methods))

    def meets(self) -> bool:
        """Whether a disturbed request has come."""
        return self.proxy.counts[self.fault] > self.before[0]

    def waits(self) -> bool:
        """Whether the consumer has partitions that are not placed."""
        return bool(health(self.http).get("partitions_waiting"))

    def has_read(self) -> bool:
        return health(self.http).get("partitions") == list(range(PARTITIONS)) and _buffered(self.http) > 0


def starting(scene: Scene) -> None:
    scene.disturb(scene.fault, "")
    scene.start()
    until(lambda: scene.meets() and not health(scene.http)["ready"], "starting")


def listing(scene: Scene) -> None:
    scene.disturb(scene.fault, "list-type")
    scene.start()
    until(lambda: scene.meets() and scene.waits(), "listing")


def placing(scene: Scene) -> None:
    """The landed objects are listed, and Kafka does not say where the log begins."""
    scene.disturb("slow", "list-type")
    scene.start()
    until(lambda: scene.proxy.counts["slow"] > scene.before[0] and scene.waits(), "listing")
    scene.broker.signal(signal.SIGSTOP)
    until(lambda: scene.proxy.ended["slow"] >= scene.before[1] + 2, "both prefixes are listed")
    assert scene.waits()


def landing(scene: Scene) -> None:
    scene.disturb(scene.fault, "/crypto_data/2", "PUT")
    scene.start(age=0.5)
    until(scene.meets, "a PUT")


def flushing(scene: Scene) -> None:
    scene.start()
    until(scene.has_read, "records in memory")
    scene.disturb(scene.fault, "/crypto_data/2", "PUT")
    scene.consumer.signal(signal.SIGTERM)
    until(scene.meets, "a PUT of the flush")


def closing(scene: Scene) -> None:
    """Everything has landed, and Kafka does not answer the last commit; closing the client would wait, too."""
    scene.start()
    until(scene.has_read, "records in memory")
    scene.broker.signal(signal.SIGSTOP)
    scene.consumer.signal(signal.SIGTERM)
    until(lambda: object_count(scene.stage) > scene.objects, "the flush")


STATES = {state.__name__: state for state in (starting, listing, placing, landing, flushing, closing)}


@pytest.mark.parametrize("state", STATES)
def test_a_kill_a_stop_or_a_hang_loses_nothing(
    stage: Stage, own_broker: Broker, proxy: FaultProxy, http: int, state: str
) -> None:
    loads = []
    for fate in ("stop", "kill", "hang"):
        loads.append(stage.load(20))
        scene = Scene(stage, own_broker, proxy, http, fate)
        STATES[state](scene)
        consumer = scene.consumer
        if fate == "kill":
            consumer.kill()
        elif fate == "stop":
            consumer.signal(signal.SIGTERM)
            own_broker.signal(signal.SIGCONT)
            assert consumer.terminate(240) == 0, consumer.log.read_text()
        else:
            assert ends_in_time(consumer) in ((0, 3) if state in ("starting", "listing", "placing") else (3,))
            assert all(" to " in offsets for offsets in named(consumer, state)), consumer.log.read_text()
        own_broker.signal(signal.SIGCONT)
        proxy.weather = Weather()
    lands_later(stage, *loads, CONSUMER_GROUP_INSTANCE_ID="one")


def named(consumer: ConsumerProcess, state: str) -> list[str]:
    """The offsets that a consumer names at its end because they are not landed."""
    if state in ("landing", "flushing"):
        left = last_line(consumer, "stopped")["not_landed"]
        assert left
        return list(left.values())
    if state == "closing":
        assert last_line(consumer, "not ended in time, ends now")["held_at"]
    return []


MANY = 240


@pytest.fixture
def many(stage: Stage) -> Stage:
    """A group with commits for the first partitions only; the others were added after them."""
    first = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    stage.load(40)
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert first.terminate() == 0
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    admin.create_partitions([NewPartitions(stage.topic, MANY)])[stage.topic].result(60)
    return stage


def test_many_new_partitions_hold_neither_the_others_nor_the_loop(many: Stage, http: int) -> None:
    load = many.load(400)
    short = {"session.timeout.ms": 6000, "max.poll.interval.ms": 6000, "heartbeat.interval.ms": 500, "log_level": 3}
    consumer = many.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5", KAFKA_OPTIONS=json.dumps(short))
    silences: list[float] = []

    def all_placed() -> bool:
        state = health(http)
        silences.append(state.get("seconds_since_poll", 0.0))
        return len(state.get("partitions", [])) == MANY

    with Stalls() as stalls:
        until(all_placed, "all partitions placed")
    assert max(silences) < 2 + stalls.longest  # a step takes less than a second, and this machine may be slow
    assert wait_until_committed(many.bootstrap, many.group, many.topic, MANY, 120) == {}
    assert ends_in_time(consumer) == 0, consumer.log.read_text()[-3000:]
    assert last_line(consumer, "stopped")["messages"] == len(load.acknowledged)
    assert '"lost"' not in consumer.log.read_text()


def test_sigterm_is_heard_while_many_partitions_are_placed(many: Stage, http: int) -> None:
    many.load(400)
    consumer = many.consumer()
    until(lambda: bool(health(http).get("partitions_waiting")), "placing")
    assert ends_in_time(consumer) == 0, consumer.log.read_text()[-3000:]
