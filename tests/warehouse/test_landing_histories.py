"""Generated histories of landings and runs on a real warehouse: bronze has each landed record once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import boto3
import obstore
import pytest
from obstore.store import S3Store

from include.landing.body import PLAIN
from include.landing.layout import object_key
from include.settings import StorageSettings
from include.transform import gate
from tests.warehouse.landed_topic import LandedTopic, Message, quote
from tests.warehouse.rows import loaded_offsets, quotes
from tests.warehouse.warehouse import Warehouse, environment

pytestmark = pytest.mark.servers

BRONZE = ("run", "--select", "path:models/bronze")
JUMPS = [timedelta(0)] * 6 + [timedelta(days=1), timedelta(hours=-30), timedelta(hours=5)]
ACCOUNTED = """
    select kafka_partition, kafka_offset from lake_bronze.crypto_raw
    union all
    select kafka_partition, kafka_offset from lake_bronze.crypto_dead_letter
    order by all
"""


def batch(history: random.Random, partition: int, first: int, now: datetime) -> list[Message]:
    """Records of one file; its consumer may lag, and the broker's clock may be wrong."""
    lag = history.choice([timedelta(0), timedelta(0), timedelta(hours=6), timedelta(days=6)])
    at = now - lag + history.choice(JUMPS)
    payload = b'{"id": 1, "symbol": "BTC", "name": "Bitcoin", "price": 1, "last_updated": "2026-01-01T00:00:00Z"}'
    refused = history.random() < 0.2
    return [
        Message(partition, first + n, round(at.timestamp() * 1000) + n, payload, "not_json" if refused else None)
        for n in range(history.randint(1, 4))
    ]


def land(store: S3Store, records: list[Message]) -> None:
    """The data file of a batch, then its dead letters."""
    first = records[0]
    place = (first.partition, first.offset, first.timestamp_ms)
    good = [message.record() for message in records if message.error is None]
    obstore.put(store, object_key("crypto_data/", "crypto_data", *place), PLAIN.encode(good))
    if letters := [message.dead_letter() for message in records if message.error is not None]:
        obstore.put(store, object_key("dead_letter/", "dead_letter", *place), PLAIN.encode(letters))


@pytest.mark.parametrize("with_gate", [False, True], ids=["dbt_alone", "with_the_gate"])
def test_no_history_strands_or_doubles_a_record(warehouse: Warehouse, store: S3Store, with_gate: bool) -> None:
    history, s3, storage = random.Random(7), boto3.client("s3"), StorageSettings(bucket=warehouse.bucket)
    next_offset = dict.fromkeys(range(4), 0)
    waiting: list[list[Message]] = []
    landed: list[tuple[int, int]] = []
    for round_number in range(6):
        now = datetime.now(UTC)
        for _ in range(12):
            partition = history.choices(range(4), [5, 5, 1, int(round_number > 2)])[0]
            records = batch(history, partition, next_offset[partition], now)
            next_offset[partition] += len(records)
            waiting.append(records)
        history.shuffle(waiting)
        for records in [waiting.pop() for _ in range(history.randint(6, len(waiting)))]:
            land(store, records)
            landed += [(message.partition, message.offset) for message in records]
        found = gate.look(s3, storage, datetime.now(UTC))
        assert found.is_new
        with environment({"WAREHOUSE_LANDED_HOURS": gate.ranges(found.hours) if with_gate else ""}):
            warehouse.dbt(*BRONZE, *(["--full-refresh"] if round_number == 4 else []))
        assert warehouse.query(ACCOUNTED) == sorted(landed)
        if history.random() < 0.7:  # else the task that stores the offer was killed
            gate.write_seen(s3, storage, found.seen)
            gate.write_offered(s3, storage, found.offered)


def test_files_after_a_batch_from_the_future_are_loaded(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    """A broker's clock was a day ahead for a moment."""
    topic, s3, storage = LandedTopic(cell=1), boto3.client("s3"), StorageSettings(bucket=warehouse.bucket)
    quotes(topic, "ETH", today - timedelta(minutes=10), 3, timedelta(minutes=1))
    for n, ahead in enumerate([timedelta(0), timedelta(days=1), timedelta(0)]):
        message = topic.log[1][n]
        topic.log[1][n] = Message(1, n, message.timestamp_ms + int(ahead.total_seconds() * 1000), message.payload)
    files = list(topic.files())
    for number in (2, 3):
        for key, body in files[:number]:
            obstore.put(store, key, body)
        found = gate.look(s3, storage, datetime.now(UTC))
        assert (found.is_new, gate.look(s3, storage, datetime.now(UTC)).is_new) == (True, True)
        warehouse.dbt(*BRONZE)
        assert loaded_offsets(warehouse, 1) == list(range(number))
        gate.write_seen(s3, storage, found.seen)
        gate.write_offered(s3, storage, found.offered)
    assert gate.look(s3, storage, datetime.now(UTC)).is_new is False


def test_a_partition_that_starts_late_does_not_wait(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    """Consumers started minutes apart on a backlog: one's first files are hours older than what is loaded."""
    topic = LandedTopic(cell=10)
    quotes(topic, "ETH", today - timedelta(hours=10), 60, timedelta(minutes=10))
    topic.land(store)
    warehouse.dbt(*BRONZE)
    for n in range(40):
        at = today - timedelta(hours=10) + n * timedelta(minutes=1)
        topic.send(quote("XRP", 2.0, at), at)
    topic.land(store)
    warehouse.dbt(*BRONZE)
    assert loaded_offsets(warehouse, 2) == list(range(40))
