"""Messages of every kind for the real consumer: values, keys, headers, timestamps, sizes, compressions, transactions.

A seed decides them. `Fuzz.send` sends them to real Kafka; afterwards `visible` says which of them a consumer may see.
A `FuzzLoad` sends them in a thread while Kafka fails.
"""

from __future__ import annotations

import contextlib
import json
import random
import struct
import threading
import uuid
from collections.abc import Iterator
from time import monotonic

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from tests.chaos import wire
from tests.chaos.checker import Acknowledged, Place
from tests.chaos.rig import quote

LIMIT = 900_000
"""About the largest value: librdkafka sends 1,000,000 bytes by default, with key, headers and overhead."""
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
HANGING_MS = 6000
"""After this time the broker aborts a transaction whose producer has died."""
TIMES = (-(10**15), -1, 0, 1, 1_763_928_907_123, 253_402_300_799_999, 253_402_300_800_000, 2**63 - 1)
"""Timestamps of a producer, ms: negative, unknown, 1970, now, the last of the year 9999, and later."""
_TEXTS = (
    b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":1e400,"last_updated":"2026-11-23T20:15:07Z"}',
    b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":1,"last_updated":"2026-11-23T20:15:60Z"}',
    b'{"id":1,"symbol":"\\ud800","name":"Bitcoin","price":1,"last_updated":"2026-11-23T20:15:07Z"}',
    b'{"id":1,"id":2,"symbol":"BTC","name":"Bitcoin","price":1,"last_updated":"9999-12-31T23:59:59-23:59"}',
    b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":NaN,"last_updated":"2026-11-23T20:15:07Z"}',
    b'{"id":' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"a":' * 50_000, b"\xef\xbb\xbf{}", b"null", b"0", b'"', b"\x00",
    b'{"_hole":3}', b'\r\n{\r\n"id":1}', b"{}", b"",
)  # fmt: skip


class Fuzz:
    """Sends random messages to one topic with any partitions; all that is acknowledged is in `acknowledged`."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, seed: int, *, own_times: bool = False) -> None:
        """`own_times`: the topic has CreateTime, so the producer sets timestamps."""
        self._bootstrap, self._topic, self._partitions = bootstrap, topic, partitions
        self._random = random.Random(seed)
        self._own_times = own_times
        self._producers = [self._producer(compression) for compression in COMPRESSIONS]
        self._transactions = [self._transactional(compression) for compression in ("none", "zstd")]
        self._open: list[Producer] = []  # transactions whose producer never ends them
        self.sent = 0
        self.acknowledged: list[Acknowledged] = []
        self.uncertain: list[Acknowledged] = []
        """Messages of transactions of which Kafka did not say that they were committed."""

    def committed(self, seen: set[Place]) -> list[Acknowledged]:
        """All messages that Kafka has committed; `seen` are the places of all records that a consumer may see."""
        return self.acknowledged + [each for each in self.uncertain if (each.partition, each.offset) in seen]

    def _producer(self, compression: str) -> Producer:
        return Producer(self._config(compression) | {"enable.idempotence": True})

    def _transactional(self, compression: str, timeout_ms: int = 60_000) -> Producer:
        options = {"transactional.id": uuid.uuid4().hex, "transaction.timeout.ms": timeout_ms}
        producer = Producer(self._config(compression) | options)
        producer.init_transactions(60)
        return producer

    def _config(self, compression: str) -> dict[str, str | int | float | bool]:
        return {"bootstrap.servers": self._bootstrap, "compression.type": compression, "linger.ms": 5, "log_level": 2}

    def send(self, count: int) -> None:
        """Send about `count` messages: single ones, transactions with each end, and raw ones."""
        end = self.sent + count
        while self.sent < end:
            kind = self._random.choices(("plain", "committed", "aborted", "raw"), (6, 2, 2, 1))[0]
            if kind == "plain":
                self._plain(self._random.randint(1, 30))
            elif kind == "raw":
                self._raw(self._random.randint(1, 5))
            else:
                self._transaction(self._random.randint(1, 20), commit=kind == "committed")
        for producer in self._producers:
            assert producer.flush(60) == 0

    def hang(self, count: int) -> None:
        """Send messages in a transaction that only the broker ends, after `HANGING_MS`."""
        producer = self._transactional("none", HANGING_MS)
        producer.begin_transaction()
        for _ in range(count):
            self._produce(producer, [])
        producer.flush(60)
        self._open.append(producer)

    def _plain(self, count: int) -> None:
        producer = self._random.choice(self._producers)
        for _ in range(count):
            self._produce(producer, self.acknowledged)
        producer.poll(0)

    def _transaction(self, count: int, *, commit: bool) -> None:
        producer, sent = self._random.choice(self._transactions), list[Acknowledged]()
        producer.begin_transaction()
        for _ in range(count):
            self._produce(producer, sent)
        producer.flush(60)
        if commit:
            self.uncertain += sent
            producer.commit_transaction(60)
            del self.uncertain[len(self.uncertain) - len(sent) :]
            self.acknowledged += sent
        else:
            producer.abort_transaction(60)

    def end_in_markers(self) -> None:
        """Abort a transaction on each partition, so that each log ends in offsets without a record."""
        producer = self._transactional("none", HANGING_MS)
        producer.begin_transaction()
        for partition in range(self._partitions):
            producer.produce(self._topic, b"aborted", partition=partition)
        producer.flush(60)
        producer.abort_transaction(60)

    def begin_again(self) -> None:
        """Replace the transactional producers after an error. The broker aborts what they left open."""
        self._open += self._transactions
        self._transactions = [self._transactional(compression, HANGING_MS) for compression in ("none", "zstd")]

    def _produce(self, producer: Producer, acknowledged: list[Acknowledged]) -> None:
        value, valid = self._value()
        key, headers = self._key(), self._headers()
        time = self._random.choice(TIMES[2:]) if self._own_times else 0  # 0: now

        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            place = message.partition() or 0, message.offset() or 0
            acknowledged.append(Acknowledged(*place, message.timestamp()[1], value, valid, key, headers))

        self.sent += 1
        producer.produce(
            self._topic, value, key, partition=self._random.randrange(self._partitions), headers=list(headers),
            on_delivery=delivered, timestamp=time,
        )  # fmt: skip

    def _raw(self, count: int) -> None:
        """Records whose header names no client library sends."""
        partition = self._random.randrange(self._partitions)
        records, contents = [], []
        for _ in range(count):
            value, valid = self._value()
            headers = tuple((self._bytes(9), self._bytes(20)) for _ in range(self._random.randint(1, 4)))
            records.append(wire.RawRecord(value[:100_000] if value else value, self._key(), headers))
            contents.append((records[-1].value, valid if value == records[-1].value else None))
        time = self._random.choice(TIMES) if self._own_times else None
        first, time = wire.produce(self._bootstrap, self._topic, partition, records, time)
        self.sent += count
        for index, (record, (value, valid)) in enumerate(zip(records, contents, strict=True)):
            names = _names(record.headers)
            self.acknowledged.append(Acknowledged(partition, first + index, time, value, valid, record.key, names))

    def _bytes(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randint(0, most))

    def _key(self) -> bytes | None:
        return self._random.choice((None, b"", b"BTC", self._bytes(50)))

    def _headers(self) -> tuple[tuple[str, bytes | None], ...]:
        names = ("", "trace", "Größe", "a" * 300, "trace")
        many = self._random.choice((0, 0, 0, 1, 3, 40))
        return tuple(
            (self._random.choice(names), self._random.choice((None, b"", self._bytes(99)))) for _ in range(many)
        )

    def _value(self) -> tuple[bytes | None, bool | None]:
        """A value, and whether it is a valid quote (None: who knows)."""
        number = self._random.randrange(10**6)
        kind = self._random.choices(
            ("quote", "large", "bytes", "text", "changed", "cut", "none"), (10, 0.3, 2, 2, 4, 2, 1)
        )[0]
        if kind == "quote":
            return quote(number), True
        if kind == "large":
            size = int(LIMIT ** self._random.random())
            padded = json.loads(quote(number)) | {"padding": "x" * size}
            return json.dumps(padded).encode(), None
        if kind == "bytes":
            return self._random.randbytes(int(LIMIT ** self._random.random())), None
        if kind == "text":
            return self._random.choice(_TEXTS), None
        if kind == "none":
            return None, False
        content = bytearray(quote(number))
        if kind == "cut":
            return bytes(content[: self._random.randrange(len(content))]), False
        for _ in range(self._random.randint(1, 3)):
            content[self._random.randrange(len(content))] = self._random.randrange(256)
        return bytes(content), None


class FuzzLoad:
    """A thread that sends the messages of a `Fuzz` until it is stopped, also while Kafka fails."""

    def __init__(self, fuzz: Fuzz, pause_seconds: float) -> None:
        self.fuzz = fuzz
        self.errors = 0
        self._pause = pause_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            try:
                self.fuzz.send(10)
            except (KafkaException, OSError, AssertionError, struct.error):  # Kafka restarts or refuses
                self.errors += 1
                with contextlib.suppress(KafkaException):
                    self.fuzz.begin_again()

    def finish(self) -> None:
        """Stop, leave a transaction open, and let each log end in markers."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(120)
        self.fuzz.hang(5)
        self.fuzz.end_in_markers()


def _names(headers: tuple[tuple[bytes, bytes | None], ...]) -> tuple[tuple[str, bytes | None], ...] | None:
    """The headers as the client returns them; None if it cannot, because a name is not UTF-8.

    Its names end at a zero byte.
    """
    try:
        return tuple((name.partition(b"\0")[0].decode(), value) for name, value in headers)
    except UnicodeDecodeError:
        return None


def visible(bootstrap: str, topic: str, partitions: int) -> tuple[set[Place], dict[int, int]]:
    """The places of all committed records as a client of its own sees them, and the end of each partition."""
    reader = KafkaConsumer({
        "bootstrap.servers": bootstrap, "group.id": "look", "enable.partition.eof": True, "enable.auto.commit": False,
        "isolation.level": "read_committed", "auto.offset.reset": "error",
    })  # fmt: skip
    reader.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    try:
        return _read_all(reader, partitions)
    finally:
        reader.close()


def _read_all(reader: KafkaConsumer, partitions: int) -> tuple[set[Place], dict[int, int]]:
    seen, ends, deadline = set[Place](), dict[int, int](), monotonic() + 120
    for message in _messages(reader, deadline):
        error = message.error()
        if error is None:
            seen.add((message.partition() or 0, message.offset() or 0))
        else:
            assert error.code() == KafkaError._PARTITION_EOF, error
            ends[message.partition() or 0] = message.offset() or 0
            if len(ends) == partitions:
                return seen, ends
    raise AssertionError(f"the topic was not read within the time limit: ends {ends}")


def _messages(reader: KafkaConsumer, deadline: float) -> Iterator[Message]:
    while monotonic() < deadline:
        yield from reader.consume(500, 0.5)


def holes(seen: set[Place], ends: dict[int, int]) -> frozenset[Place]:
    """The places without a committed record."""
    return frozenset((number, offset) for number, end in ends.items() for offset in range(end)) - seen
