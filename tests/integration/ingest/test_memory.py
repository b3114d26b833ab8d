"""The memory of a consumer is bounded in bytes, not in messages: docs/ingest.md says what it holds at most."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer

from include.settings import ConsumerSettings
from tests.chaos.proxy import FaultProxy, Weather
from tests.chaos.rig import ConsumerProcess, wait_until_committed
from tests.integration.ingest.stage import PARTITIONS, Stage, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel's VmHWM"),
]

MESSAGE_BYTES = 250_000
MESSAGES = 600
"""Together 150 MB, more than the bound."""
QUEUE_BYTES = 16 * 2**20
FETCH_BYTES = 2**20
"""A fetch of a partition: at least one batch of a producer, up to the broker's default limit of a batch."""


def peak_bytes(consumer: ConsumerProcess) -> int:
    """The largest resident memory of the process so far (VmHWM)."""
    assert consumer.process is not None
    status = Path(f"/proc/{consumer.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def fill(stage: Stage) -> None:
    """Send valid messages of `MESSAGE_BYTES` to all partitions."""
    quote = b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":1.5,"last_updated":"2026-11-23T20:15:07Z","more":"%b"}'
    value = quote % (b"x" * (MESSAGE_BYTES - len(quote)))
    producer = Producer({"bootstrap.servers": stage.bootstrap, "queue.buffering.max.kbytes": 65_536})
    for number in range(MESSAGES):
        while True:
            try:
                producer.produce(stage.topic, value, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0


def test_large_messages_stay_within_the_documented_memory(stage: Stage) -> None:
    """With an S3 that keeps up, and with one that refuses every PUT until the buffer is full."""
    idle = stage.consumer(KAFKA_GROUP="none")
    until(lambda: "assigned" in stage.log(), "an assignment")
    base = peak_bytes(idle)
    assert idle.terminate() == 0
    host, port = stage.endpoint.removeprefix("http://").split(":")
    proxy = FaultProxy((host, int(port)), 1)
    try:
        peaks = [drain(stage, proxy, refuse=refuse) for refuse in (False, True)]
    finally:
        proxy.close()
    bound = ConsumerSettings().max_buffer_bytes + QUEUE_BYTES + PARTITIONS * FETCH_BYTES
    assert [peak - base for peak in peaks if peak - base > bound] == []


def drain(stage: Stage, proxy: FaultProxy, *, refuse: bool) -> int:
    """Land a new backlog; returns the consumer's peak memory in bytes."""
    fill(stage)
    consumer = stage.consumer(AWS_ENDPOINT_URL=proxy.endpoint, CONSUMER_BATCH_AGE_SECONDS="0.5")
    if refuse:
        until(lambda: "started" in consumer.log.read_text(), "a start")
        proxy.weather = Weather(s503=1.0, methods=frozenset({"PUT"}))
        until(lambda: "paused: S3 does not keep up" in consumer.log.read_text(), "a full buffer")
        proxy.weather = Weather()
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    peak = peak_bytes(consumer)
    assert consumer.terminate() == 0
    return peak
