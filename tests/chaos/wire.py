"""A hand-made produce request: sends records that no client library agrees to send, such as invalid header names."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, sleep, time

PRODUCE_VERSION = 3
"""The oldest version of the Produce request that Kafka 4 accepts; its strings are not compact yet."""
NOT_YET = (3, 5, 6)
"""The topic was made a moment ago: unknown topic, no leader, not the leader."""
_POLYNOMIAL = 0x82F63B78
"""CRC-32C (Castagnoli), reflected."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as bytes; the names of its headers may be any bytes."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def _table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)
        table.append(number)
    return table


_TABLE = _table()


def crc32c(content: bytes) -> int:
    """The checksum of a record batch."""
    value = 0xFFFFFFFF
    for byte in content:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _varint(number: int) -> bytes:
    """A signed integer in zigzag encoding."""
    number = number << 1 ^ number >> 63
    encoded = bytearray()
    while number & ~0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _bytes(content: bytes | None) -> bytes:
    return _varint(-1) if content is None else _varint(len(content)) + content


def _record(index: int, record: RawRecord) -> bytes:
    headers = b"".join(_bytes(name) + _bytes(value) for name, value in record.headers)
    body = b"\x00" + _varint(0) + _varint(index) + _bytes(record.key) + _bytes(record.value)
    body += _varint(len(record.headers)) + headers
    return _varint(len(body)) + body


def _batch(records: Sequence[RawRecord], timestamp: int) -> bytes:
    body = b"".join(_record(index, record) for index, record in enumerate(records))
    # attributes, last offset delta, first and last timestamp, producer id, epoch and sequence, number of records
    content = struct.pack(">hiqqqhii", 0, len(records) - 1, timestamp, timestamp, -1, -1, -1, len(records)) + body
    checked = struct.pack(">ibI", -1, 2, crc32c(content)) + content  # leader epoch, magic, checksum
    return struct.pack(">qi", 0, len(checked)) + checked


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def produce(
    bootstrap: str, topic: str, partition: int, records: Sequence[RawRecord], timestamp: int | None = None
) -> tuple[int, int]:
    """Send a batch to the partition's leader, which `bootstrap` must be; returns the first record's offset and time.

    `timestamp` is in ms since 1970, None for now. A topic with LogAppendTime replaces it.

    Raises:
        AssertionError: the broker answers with an error code.
    """
    timestamp = int(time() * 1000) if timestamp is None else timestamp
    batch = _batch(records, timestamp)
    request = struct.pack(">hhi", 0, PRODUCE_VERSION, 1) + _string("wire")
    request += struct.pack(">hhi", -1, -1, 30_000)  # no transactional id, acks of all replicas, time limit in ms
    request += struct.pack(">i", 1) + _string(topic) + struct.pack(">ii", 1, partition)
    request += struct.pack(">i", len(batch)) + batch
    deadline = monotonic() + 60
    while True:
        answer = _ask(bootstrap, request)
        # correlation id, number of topics, the topic's name, number of partitions; then index, error, offset, time
        _, error, offset, appended = struct.unpack_from(">ihqq", answer, 4 + 4 + len(_string(topic)) + 4)
        if error == 0:
            return offset, timestamp if appended == -1 else appended
        assert error in NOT_YET, f"the broker answers with error code {error}"
        assert monotonic() < deadline, f"the topic is not there: error code {error}"
        sleep(0.1)


def _ask(bootstrap: str, request: bytes) -> bytes:
    host, port = bootstrap.split(":")
    with socket.create_connection((host, int(port)), 30) as connection, connection.makefile("rb") as answers:
        connection.sendall(struct.pack(">i", len(request)) + request)
        return answers.read(int(struct.unpack(">i", answers.read(4))[0]))
