"""Landed files for tests: a topic in memory that is written to S3 as the landing contract describes.

It replaces producer, Kafka and consumer in tests of the warehouse. It decides the partition, offset and time of each
record, and which files exist. Everything is seeded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import obstore
from obstore.store import S3Store

from include.ingest.quote import one_line
from include.landing.body import PLAIN
from include.landing.dead_letter import ErrorClass, rejected_message
from include.landing.layout import object_key

TOPIC = "selected_crypto_data"
ASSETS = {"BTC": (1, "Bitcoin", 95_000.0), "ETH": (1027, "Ethereum", 3_200.0), "XRP": (52, "XRP", 2.1)}
PARTITION_OF = {"BTC": 0, "ETH": 1, "XRP": 2}


def milliseconds(moment: datetime) -> int:
    """Kafka's timestamp of a moment."""
    return round(moment.timestamp() * 1000)


def quote(symbol: str, price: float, at: datetime, **extra: Any) -> dict[str, Any]:
    """A message of the topic, as the producer writes it."""
    asset_id, name, _ = ASSETS[symbol]
    return {"id": asset_id, "symbol": symbol, "name": name, "price": price, "last_updated": iso(at)} | extra


def iso(moment: datetime) -> str:
    """ISO 8601 with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the topic; `error` is set if the consumer would refuse it."""

    partition: int
    offset: int
    timestamp_ms: int
    payload: bytes
    error: ErrorClass | None = None

    def record(self) -> bytes:
        """The landed line: the coordinates, then the payload."""
        prefix = PLAIN.prefix(TOPIC, self.partition)
        return PLAIN.join(prefix, self.offset, [self.timestamp_ms], [one_line(self.payload)])

    def dead_letter(self) -> bytes:
        """The line of a refused message."""
        assert self.error is not None
        letter = rejected_message(
            topic=TOPIC,
            partition=self.partition,
            offset=self.offset,
            timestamp=self.timestamp_ms,
            error_class=self.error,
            error="refused by a test",
            key=None,
            value=self.payload,
            headers=None,
        )
        return letter.to_line()


@dataclass
class LandedTopic:
    """A topic and its landed offsets. Offsets and timestamps only grow within a partition."""

    cell: int = 100
    log: dict[int, list[Message]] = field(default_factory=dict)
    landed: dict[int, int] = field(default_factory=dict)

    def send(
        self,
        message: dict[str, Any] | bytes,
        at: datetime,
        partition: int | None = None,
        error: ErrorClass | None = None,
    ) -> Message:
        """Append a message; without `partition`, its symbol decides the partition."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        if partition is None:
            partition = PARTITION_OF.get(message.get("symbol", ""), 0) if isinstance(message, dict) else 0
        log = self.log.setdefault(partition, [])
        time = max(milliseconds(at), log[-1].timestamp_ms if log else 0)
        log.append(Message(partition, len(log), time, payload, error))
        return log[-1]

    def batches(self, partitions: set[int] | None = None) -> Iterator[list[Message]]:
        """The messages that have not landed yet, cut at the ends of cells and UTC days."""
        for partition, log in sorted(self.log.items()):
            if partitions is not None and partition not in partitions:
                continue
            waiting = log[self.landed.get(partition, 0) :]
            self.landed[partition] = len(log)
            for _, batch in groupby(waiting, lambda m: (m.offset // self.cell, m.timestamp_ms // 86_400_000)):
                yield list(batch)

    def files(self, partitions: set[int] | None = None) -> Iterator[tuple[str, bytes]]:
        """Keys and bodies of the objects to land: data files, each followed by its dead letters."""
        for batch in self.batches(partitions):
            first = batch[0]
            place = (first.partition, first.offset, first.timestamp_ms)
            good = [message.record() for message in batch if message.error is None]
            yield object_key("crypto_data/", "crypto_data", *place), PLAIN.encode(good)
            dead_letters = [message.dead_letter() for message in batch if message.error is not None]
            if dead_letters:
                yield object_key("dead_letter/", "dead_letter", *place), PLAIN.encode(dead_letters)

    def land(self, store: S3Store, partitions: set[int] | None = None) -> list[str]:
        """Land the messages that have not landed yet; returns the keys."""
        keys = []
        for key, body in self.files(partitions):
            obstore.put(store, key, body)
            keys.append(key)
        return keys


def open_bucket(bucket: str, endpoint: str) -> S3Store:
    """The bucket on the emulator; credentials from the AWS_ variables."""
    return S3Store(bucket, endpoint=endpoint, client_options={"allow_http": True})


def market_day(
    topic: LandedTopic,
    start: datetime,
    hours: float = 24.0,
    interval: timedelta = timedelta(minutes=1),
    seed: int = 1,
    faults: bool = True,
) -> None:
    """Fill a topic with a seeded market: a random walk with one quote for each interval and symbol.

    With `faults` some messages are sent twice or late, have implausible prices or unknown coins, or are refused by the
    consumer. From the middle on, messages have a new field.
    """
    market = random.Random(seed)
    prices = {symbol: [price] for symbol, (_, _, price) in ASSETS.items()}
    steps = int(timedelta(hours=hours) / interval)
    for step in range(steps):
        at = start + step * interval
        for symbol, past in prices.items():
            past.append(round(past[-1] * (1 + market.gauss(0, 0.0004)), 8))
            received = at + timedelta(milliseconds=market.randint(40, 900))
            newer_schema = {"volume_24h": market.randint(1, 10**9)} if faults and step >= steps / 2 else {}
            topic.send(quote(symbol, past[-1], at, **newer_schema), received)
            if faults:
                _send_fault(topic, market, quote(symbol, past[-1], at, **newer_schema), received)
                if market.random() < 0.01 and step > 30:
                    # a late quote that was never sent: half an interval after an old quote
                    topic.send(quote(symbol, past[-30], at - 29.5 * interval, **newer_schema), received)


def _send_fault(topic: LandedTopic, market: random.Random, message: dict[str, Any], received: datetime) -> None:
    chance = market.random()
    partition = PARTITION_OF[message["symbol"]]
    if chance < 0.01:
        topic.send(message, received)
    elif chance < 0.02:
        topic.send(message | {"price": message["price"] * 1e6}, received)
    elif chance < 0.03:
        topic.send(message | {"id": 10**9, "symbol": "NONE", "name": "No coin"}, received, partition)
    elif chance < 0.04:
        topic.send(b'{"id": 1, "symbol": ', received, partition, error="not_json")
