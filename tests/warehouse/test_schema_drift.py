"""Fields beyond the contract: what a load shows of them, and how a field becomes a column of silver."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from obstore.store import S3Store

from include.ingest.topic import ensure_topic
from include.settings import KafkaSettings
from include.state.record_fields import RecordFields
from include.transform import schema_drift
from tests.chaos.rig import wait_until_committed
from tests.integration.ingest.stage import PARTITIONS, Stage
from tests.servers import KafkaServer
from tests.warehouse.extra_fields import ODD, SENT, column_of, looked_at
from tests.warehouse.landed_topic import LandedTopic, quote
from tests.warehouse.warehouse import DbtError, Warehouse

pytestmark = pytest.mark.servers


def test_a_look_has_each_set_of_names_and_types(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    topic.send(quote("BTC", 95_000.0, today), today)
    topic.send(quote("BTC", 95_001.0, today, **ODD), today + timedelta(seconds=1))
    topic.send(quote("BTC", 95_002.0, today, **ODD), today + timedelta(seconds=2))
    topic.land(store)
    warehouse.dbt("run", "--select", "crypto_raw")
    looked = looked_at(warehouse)
    assert looked["known"] == {}
    (odd, plain) = looked["sets"]
    assert [odd[1], odd[4], plain[1], plain[4]] == ["2", "3", "1", "3"]
    added = set(json.loads(odd[0])) - set(json.loads(plain[0]))
    types = ["number:a'b\"", "null:x y", "object:nested", "array:tags", "boolean:flag", "number:volume_24h", "string:ü"]
    assert added == set(types)
    assert odd[2].split("/")[1:] == ["0" * 10, "0" * 18 + "1"]
    assert dict(json.loads(odd[3]))["nested"] == '{"k":[1,2]}'
    assert looked_at(warehouse, since=odd[5])["sets"] == []


def variables(**lists: dict[str, str]) -> tuple[str, str]:
    """The project with one line more in a list of `dbt_project.yml`."""
    return "--vars", json.dumps(lists)


VOLUME = variables(promoted_fields={"volume_24h": "double"})


@pytest.mark.parametrize("kind", SENT)
def test_a_promoted_field_has_the_values_of_its_type(kind: str, warehouse: Warehouse) -> None:
    """tests/athena/test_conformance.py does the same on Trino."""
    assert column_of(warehouse, kind) == [read for _, read in SENT[kind]]


@pytest.mark.parametrize(
    ("field", "kind", "says"),
    [("price", "double", "price cannot be a column"), ("Volume", "double", "Volume cannot"), ("v", "json", "take one")],
)
def test_a_field_that_cannot_be_promoted_is_refused_by_name(
    field: str, kind: str, says: str, warehouse: Warehouse
) -> None:
    with pytest.raises(DbtError, match=says):
        warehouse.dbt("run", "--select", "crypto_checked", *variables(promoted_fields={field: kind}))


@pytest.fixture
def stage(kafka_server: KafkaServer, topic: str, bucket: str, s3: str, tmp_path: Path) -> Any:
    ensure_topic(KafkaSettings(bootstrap_servers=kafka_server.bootstrap, topic=topic), PARTITIONS, 1, None)
    stage = Stage(kafka_server.bootstrap, topic, bucket, s3, tmp_path)
    yield stage
    stage.end()


def send(stage: Stage, messages: list[bytes]) -> int:
    """Send the messages, and wait until all are landed."""
    producer = Producer({"bootstrap.servers": stage.bootstrap})
    for n, message in enumerate(messages):
        producer.produce(stage.topic, message, partition=n % PARTITIONS)
    assert producer.flush(60) == 0
    wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120)
    return len(messages)


def test_a_change_in_mid_stream_loses_nothing_and_is_named(stage: Stage, warehouse: Warehouse, today: datetime) -> None:
    """A producer adds a field, renames one and retypes two; then the renamed one is promoted, for old rows, too."""
    stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5")
    state: RecordFields | None = None

    def load(start: int, count: int, **extra: Any) -> list[bytes]:
        times = [today - timedelta(hours=1) + timedelta(seconds=start + n) for n in range(count)]
        return [json.dumps(quote("BTC", 95_000.0 + n, at, **extra)).encode() for n, at in enumerate(times)]

    sent = send(stage, load(0, 40, volume_24h=1.5, market_cap=10))
    warehouse.load(*VOLUME)
    state = schema_drift.advance(None, json.dumps(looked_at(warehouse, *VOLUME)))
    assert state is not None
    assert {name: field.drift for name, field in state.drifting.items()} == {"market_cap": "new"}

    refused = [message.replace(b"95000.0", b'"95000.0"') for message in load(60, 1)] * 4
    framed = [b"\0\0\0\0\x07" + message for message in load(70, 4)]
    sent += send(stage, [*load(40, 20, volume=2.5, market_cap="ten", rank=1), *refused, *framed])
    warehouse.load(*VOLUME)
    looked = looked_at(warehouse, *VOLUME, since=f"{state.loaded_until:%Y-%m-%d %H:%M:%S.%f}")
    state = schema_drift.advance(state, json.dumps(looked))
    assert state is not None
    drifting = {name: (field.drift, sorted(field.counts), field.share) for name, field in state.drifting.items()}
    assert drifting == {
        "volume_24h": ("vanished", ["number"], 100.0),
        "volume": ("new", ["number"], 100.0),
        "rank": ("new", ["number"], 100.0),
        "market_cap": ("new", ["string"], 100.0),
    }
    assert {kind: place.offset for kind, place in state.extra["market_cap"].since.items()} == {
        "number": 0,
        "string": 10,
    }

    [(landed,)] = warehouse.query("select count(distinct (kafka_partition, kafka_offset)) from lake_bronze.crypto_raw")
    letters = warehouse.query("select error_class, count(*) from lake_bronze.crypto_dead_letter group by 1")
    assert Counter(dict(letters)) == {"wrong_type": 4, "schema_registry_frame": 4}
    assert landed + 8 == sent

    promoted = variables(promoted_fields={"volume_24h": "double", "volume": "double"})
    warehouse.dbt("run", "--select", "path:models/silver", "--full-refresh", *promoted)
    rows = warehouse.query("select volume_24h, volume, count(*) from lake_silver.crypto_stage group by all order by 1")
    assert rows == [(1.5, None, 40), (None, 2.5, 20)]
    state = schema_drift.advance(state, json.dumps(looked_at(warehouse, *variables(
        promoted_fields={"volume": "double"}, known_fields={"rank": "number", "market_cap": "any"}
    ), since=f"{state.loaded_until:%Y-%m-%d %H:%M:%S.%f}")))  # fmt: skip
    assert state is not None
    assert state.drifting.keys() == {"volume_24h"}  # removed from the list: forgotten after two further loads
