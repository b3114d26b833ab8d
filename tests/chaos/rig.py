"""Parts of a chaos run: consumers as processes, and a load that keeps every message that Kafka acknowledged."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep, time

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka import Consumer as KafkaConsumer

from include.ingest.commits import read_commits
from tests.chaos.checker import Acknowledged

BAD = (
    b"{", b'{"id": 1}', b"[]", b"\xff\xfe", b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":-1}', None, b"",
    b"x" * 300_000,  # more than CONSUMER_MAX_MESSAGE_BYTES
)  # fmt: skip
DAY_MS = 86_400_000
KEYS = (None, b"BTC", b"\xff\x00")
HEADERS: tuple[tuple[tuple[str, bytes | None], ...], ...] = (
    (), (("trace", b"\x00\xff"), ("trace", b"again"), ("nothing", None)),
)  # fmt: skip


def quote(number: int) -> bytes:
    """A valid quote with its number as a field."""
    return json.dumps(
        {"id": 1, "symbol": "BTC", "name": "Bitcoin", "price": 1 + number / 1000,
         "last_updated": "2026-11-23T20:15:07Z", "n": number}
    ).encode()  # fmt: skip


@dataclass
class ConsumerProcess:
    """A process of `python -m include.ingest consume`, or of another command. It can be started again."""

    number: int
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    exits: list[int] = field(default_factory=list)
    command: str = "consume"

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "include.ingest", self.command],
                env=os.environ | self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            assert self.process is not None
            self.process.send_signal(number)

    def ended(self) -> int | None:
        """The exit status, None while the process runs."""
        return None if self.process is None else self.process.poll()

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(20)

    def terminate(self, seconds: float = 40) -> int:
        """Send SIGTERM; returns the exit status."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        assert self.process is not None
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            status = -signal.SIGKILL
        self.exits.append(status)
        return status


class Load:
    """Sends numbered messages to all partitions and keeps those that were acknowledged."""

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, seed: int, rate: float, bad_share: float = 0.03,
        *, clock_jumps: bool = False,
    ) -> None:  # fmt: skip
        """`clock_jumps`: the topic has CreateTime, and the clock jumps up to a day forth and back."""
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
             "message.timeout.ms": 120_000, "log_level": 2}
        )  # fmt: skip
        self._topic = topic
        self._partitions = partitions
        self._random = random.Random(seed)
        self._rate = rate
        self._bad_share = bad_share
        self._clock_jumps = clock_jumps
        self._stop = threading.Event()
        self.acknowledged: list[Acknowledged] = []
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        started = monotonic()
        while not self._stop.is_set():
            due = int((monotonic() - started) * self._rate)
            while self.sent < due:
                self.send_one()
            self._producer.poll(0.02)

    def send_one(self) -> None:
        """Send the next message, without waiting for its acknowledgement."""
        valid = self._random.random() >= self._bad_share
        value = quote(self.sent) if valid else self._random.choice(BAD)
        key, headers = self._random.choice(KEYS), self._random.choice(HEADERS)
        self.sent += 1

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                kind, milliseconds = message.timestamp()
                assert kind == TIMESTAMP_LOG_APPEND_TIME or self._clock_jumps
                self.acknowledged.append(
                    Acknowledged(
                        message.partition() or 0, message.offset() or 0, milliseconds, value, valid, key, headers
                    )
                )

        jump = self._random.choice((*[0] * 38, -1, 1)) * self._random.randrange(DAY_MS) if self._clock_jumps else 0
        self._producer.produce(
            self._topic, value, key, partition=self.sent % self._partitions, headers=list(headers),
            on_delivery=delivered, timestamp=int(time() * 1000) + jump,
        )  # fmt: skip

    def finish(self) -> None:
        """Stop and wait for the outstanding acknowledgements."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._producer.flush(60)


def wait_until_committed(bootstrap: str, group: str, topic: str, partitions: int, seconds: float) -> dict[int, int]:
    """Wait until the group has committed the end of every partition.

    Returns the number of missing messages by partition; it is empty when nothing is missing.
    """
    reader = KafkaConsumer({
        "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False,
        "isolation.level": "read_uncommitted",  # else the end is where the first open transaction begins
    })  # fmt: skip
    places = [TopicPartition(topic, number) for number in range(partitions)]
    deadline = monotonic() + seconds
    try:
        while True:
            ends = {place.partition: reader.get_watermark_offsets(place, timeout=20)[1] for place in places}
            committed = {commit.partition: max(commit.offset, 0) for commit in read_commits(reader, places, 20)}
            missing = {number: end - committed[number] for number, end in ends.items() if committed[number] < end}
            if not missing or monotonic() > deadline:
                return missing
            sleep(0.3)
    finally:
        reader.close()
