"""The latency of the records that a build brings, compared with what the test itself knows about each message."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from msgspec import UNSET
from msgspec.structs import replace
from obstore.store import S3Store

from include.catalogue import LAYERS, Layer, Stage
from include.landing.layout import parse_key
from include.settings import StorageSettings
from include.state import latency
from include.state.latency import LayerLatency, Percentiles
from include.state.layer_state import DagRunRef, LayerState
from include.transform import inline_query, layers
from tests.warehouse.landed_topic import LandedTopic, Message, quote
from tests.warehouse.warehouse import Warehouse, environment, release

pytestmark = pytest.mark.servers

Record = Callable[[], dict[Layer, LayerState]]
SYMBOLS = ("BTC", "ETH", "XRP")


@pytest.fixture
def storage(bucket: str) -> StorageSettings:
    return StorageSettings(bucket=bucket)


@pytest.fixture
def record(warehouse: Warehouse, storage: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Records every layer, as a run of the transform does after each layer's build; returns the layers' states."""
    monkeypatch.setattr(inline_query, "work_folder", lambda: warehouse.artifacts)

    def all_layers() -> dict[Layer, LayerState]:
        warehouse.prepare()
        run = DagRunRef("crypto_transform", "r", "http://airflow.test/r")
        with environment(warehouse.variables()):
            states = {layer: layers.record(boto3.client("s3"), storage, layer, [], [], run) for layer in LAYERS}
        release()
        return states

    return all_layers


def memory(storage: StorageSettings, layer: Layer) -> LayerLatency:
    known = latency.read(boto3.client("s3"), storage, layer)
    assert known is not None
    return known


def begin(record: Record, storage: StorageSettings, ago: timedelta) -> None:
    """Record the layers for the first time, as if that had been some time ago."""
    record()
    for layer in LAYERS:
        began_at = datetime.now(UTC) - ago
        earlier = replace(memory(storage, layer), counts_from=began_at, newest=began_at)
        latency.write(boto3.client("s3"), storage, layer, earlier)


def counted(state: LayerState, stage: Stage) -> Percentiles | None:
    assert state.latency is not UNSET
    return state.latency[stage].last


def stalling_market(topic: LandedTopic, count: int, start: datetime, end: datetime) -> list[tuple[Message, bool]]:
    """Messages between two times with six long stalls, and whether silver accepts each of them."""
    market = random.Random(26)
    pauses = sorted(market.sample(range(count), 6))
    steps = [market.expovariate(1) + (400 if n in pauses else 0) for n in range(count)]
    scale, at = (end - start).total_seconds() / sum(steps), start
    sent: list[tuple[Message, bool]] = []
    for n, step in enumerate(steps):
        at += timedelta(seconds=step * scale)
        symbol, chance = SYMBOLS[n % 3], market.random()
        price = 1e9 if chance < 0.01 else {"BTC": 95_000.0, "ETH": 3_200.0, "XRP": 2.1}[symbol]
        repeated = sent[-3][0] if 0.01 <= chance < 0.02 and n > 3 else None
        message = repeated.payload if repeated else quote(symbol, price, at)
        sent.append((topic.send(message, at, n % 3), chance >= 0.02))
    return sent


def nearest_rank(latencies: list[float]) -> list[float]:
    """p50, p95, p99 and the maximum."""
    ordered = sorted(latencies)
    return [ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95, 0.99, 1.0)]


def assert_agree(found: Percentiles | None, latencies: list[float]) -> None:
    """All numbers are within one second."""
    assert found is not None
    assert found.records == len(latencies)
    shown = [found.p50, found.p95, found.p99, found.maximum]
    assert all(abs(ours - theirs) <= 1 for ours, theirs in zip(shown, nearest_rank(latencies), strict=True)), (
        shown,
        nearest_rank(latencies),
    )


def landing_times(storage: StorageSettings) -> dict[tuple[int, int], datetime]:
    """The time in S3 of each object, by partition and first offset."""
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=storage.bucket, Prefix="crypto_data/")
    objects = [(parse_key(item["Key"]), item["LastModified"]) for page in pages for item in page["Contents"]]
    return {(key.partition, key.first_offset): at for key, at in objects if key}


def test_percentiles_of_10000_records_are_those_of_the_messages(
    warehouse: Warehouse, store: S3Store, storage: StorageSettings, record: Record
) -> None:
    warehouse.load()
    begin(record, storage, timedelta(hours=5))
    topic, now = LandedTopic(), datetime.now(UTC)
    sent = stalling_market(topic, 10_000, now - timedelta(hours=3), now)
    by_hour: dict[tuple[Stage, datetime], list[float]] = defaultdict(list)
    whole, done = topic.log, 0
    states: dict[Layer, LayerState] = {}
    for part in (700, 4_000, 9_000, 10_000):  # the messages of four runs
        new, done = sent[done:part], part
        until = new[-1][0].timestamp_ms
        topic.log = {p: [message for message in log if message.timestamp_ms <= until] for p, log in whole.items()}
        topic.land(store)
        warehouse.load()
        states = record()
        landed = landing_times(storage)
        starts = {p: sorted(first for partition, first in landed if partition == p) for p in range(3)}
        latencies: dict[Stage, list[float]] = defaultdict(list)
        for message, accepted in new:
            sent_at = message.timestamp_ms / 1000
            first = max(start for start in starts[message.partition] if start <= message.offset)
            latencies["landed"].append(landed[message.partition, first].timestamp() - sent_at)
            for layer in LAYERS if accepted else ("bronze",):
                latencies[layer].append(states[layer].finished_at.timestamp() - sent_at)
        for stage, values in latencies.items():
            layer = "bronze" if stage == "landed" else stage
            assert_agree(counted(states[layer], stage), values)
            by_hour[stage, states[layer].finished_at.replace(minute=0, second=0, microsecond=0)] += values
    for (stage, hour), values in by_hour.items():
        known = states["bronze" if stage == "landed" else stage].latency
        assert known is not UNSET
        assert_agree(next(entry.percentiles for entry in known[stage].hours if entry.at == hour), values)


def test_only_new_records_count_when_bronze_is_loaded_again(
    warehouse: Warehouse, store: S3Store, storage: StorageSettings, record: Record
) -> None:
    topic, now = LandedTopic(), datetime.now(UTC)
    topic.send(
        quote("ETH", 3000.0, now - timedelta(hours=48)), now - timedelta(hours=48)
    )  # the history before the first run
    topic.land(store)
    warehouse.load()
    begin(record, storage, timedelta(hours=1))
    for ago in (timedelta(seconds=20), timedelta(seconds=10)):
        topic.send(quote("ETH", 3001.0, now - ago), now - ago)
    topic.land(store)
    warehouse.load()
    assert [counted(state, layer).records for layer, state in record().items()] == [2, 2, 2]  # type: ignore[union-attr]
    topic.send(quote("ETH", 3003.0, now - timedelta(seconds=5)), now - timedelta(seconds=5))
    topic.land(store)
    warehouse.load("--full-refresh")
    rebuilt = record()
    assert [counted(state, layer).records for layer, state in rebuilt.items()] == [1, 1, 1]  # type: ignore[union-attr]
    assert counted(rebuilt["bronze"], "landed").records == 1  # type: ignore[union-attr]
    assert {counted(state, layer) for layer, state in record().items()} == {None}  # nothing new: nothing is known
    bad = [sum(count.bad for count in memory(storage, layer).stages[layer].counts) for layer in LAYERS]
    assert bad == [0, 0, 0]


def test_records_that_only_a_run_by_hand_loads_do_not_count(
    warehouse: Warehouse, store: S3Store, storage: StorageSettings, record: Record
) -> None:
    topic, now = LandedTopic(), datetime.now(UTC)
    topic.send(quote("ETH", 3000.0, now), now, 1)
    topic.land(store)
    warehouse.load()
    begin(record, storage, timedelta(days=30))
    old, day = LandedTopic(), now - timedelta(days=20)
    old.send(quote("XRP", 2.0, day), day, 2)
    old.land(store)
    warehouse.load("--vars", json.dumps({"landing_since": f"{day:%Y-%m-%d}"}))
    assert warehouse.query("select count(*) from lake_silver.crypto_stage") == [(2,)]
    assert {counted(state, layer) for layer, state in record().items()} == {None}
