"""SIGTERM while something hangs: the consumer ends within its grace, says what is not landed, and loses nothing."""

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
from typing import Any

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

pytestmark = pytest.mark.servers

GRACE = 4.0
LATE = 3.0
"""Time of a loaded machine to run the end, besides the grace."""


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
    for consumer in stage.consumers:
        consumer.kill()


def health(http: int) -> dict[str, Any]:
    return dict(httpx.get(f"http://127.0.0.1:{http}/healthz").json())


def ends_in_time(consumer: ConsumerProcess) -> int:
    """Send SIGTERM; returns the exit status."""
    begin = monotonic()
    status = consumer.terminate(60)
    assert monotonic() - begin < GRACE + LATE, consumer.log.read_text()
    return status


def last_line(consumer: ConsumerProcess, message: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in consumer.log.read_text().splitlines() if line.startswith("{")]
    return dict([line for line in lines if line["message"] == message][-1])


def lands_later(stage: Stage, *loads: Any) -> None:
    """A consumer after this one lands everything once."""
    last = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    until(lambda: '"assigned"' in last.log.read_text(), "the next consumer")
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert last.terminate() == 0
    assert verdict(stage, *loads).errors == []


def test_a_silent_kafka_does_not_hold_the_end(stage: Stage, own_broker: Broker, http: int) -> None:
    """The last commit has no answer, and closing the client would wait for one as well."""
    load = stage.load(30)
    consumer = stage.consumer()
    until(lambda: health(http).get("partitions") == list(range(PARTITIONS)), "all partitions placed")
    until(lambda: _buffered(http) > 0, "records in memory")
    own_broker.signal(signal.SIGSTOP)
    assert ends_in_time(consumer) == 3
    line = last_line(consumer, "not ended in time, ends now")
    assert line["held_at"]
    assert object_count(stage) > 0  # the open batches landed
    own_broker.signal(signal.SIGCONT)
    lands_later(stage, load)


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


def test_a_kafka_that_falls_silent_during_placing_does_not_hold_the_end(
    stage: Stage, own_broker: Broker, proxy: FaultProxy, http: int
) -> None:
    proxy.weather = Weather(slow=1.0, methods=frozenset({"GET"}))
    stage.load(30)
    consumer = stage.consumer(AWS_ENDPOINT_URL=proxy.endpoint)
    until(lambda: bool(health(http).get("partitions_waiting")), "placing")
    own_broker.signal(signal.SIGSTOP)
    assert ends_in_time(consumer) in (0, 3)


def test_an_s3_that_hangs_does_not_hold_the_end(stage: Stage, proxy: FaultProxy, http: int) -> None:
    load = stage.load(30)
    consumer = stage.consumer(AWS_ENDPOINT_URL=proxy.endpoint)
    until(lambda: health(http).get("partitions") == list(range(PARTITIONS)), "all partitions placed")
    until(lambda: _buffered(http) > 0, "records in memory")
    proxy.weather = Weather(hang=1.0)
    assert ends_in_time(consumer) == 3
    left = last_line(consumer, "stopped")["not_landed"]
    assert left
    assert all(" to " in offsets for offsets in left.values())
    proxy.weather = Weather()
    lands_later(stage, load)


def test_an_s3_that_hangs_during_the_listing_does_not_hold_the_end(stage: Stage, proxy: FaultProxy, http: int) -> None:
    consumer = stage.consumer(AWS_ENDPOINT_URL=proxy.endpoint)
    proxy.weather = Weather(hang=1.0)
    until(lambda: not health(http)["ready"], "the process serves")
    assert ends_in_time(consumer) in (0, 3)


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
    consumer = many.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    silences: list[float] = []

    def all_placed() -> bool:
        state = health(http)
        silences.append(state.get("seconds_since_poll", 0.0))
        return len(state.get("partitions", [])) == MANY

    until(all_placed, "all partitions placed")
    assert max(silences) < 2  # a step takes less than a second, and this machine may be slow
    assert wait_until_committed(many.bootstrap, many.group, many.topic, MANY, 120) == {}
    assert ends_in_time(consumer) == 0, consumer.log.read_text()[-3000:]
    assert last_line(consumer, "stopped")["messages"] == len(load.acknowledged)


def test_sigterm_is_heard_while_many_partitions_are_placed(many: Stage, http: int) -> None:
    many.load(400)
    consumer = many.consumer()
    until(lambda: bool(health(http).get("partitions_waiting")), "placing")
    assert ends_in_time(consumer) == 0, consumer.log.read_text()[-3000:]
