"""A part of the warehouse is rebuilt, or the seed changes: the layers still agree, and no history is lost."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from obstore.store import S3Store

from tests.warehouse.landed_topic import LandedTopic, quote
from tests.warehouse.rows import content, quotes
from tests.warehouse.warehouse import Warehouse, reported

pytestmark = pytest.mark.servers


def hours_of(warehouse: Warehouse) -> list[tuple[object, ...]]:
    """Gold's quotes of each coin."""
    return warehouse.query("select id, sum(quote_count)::int from lake_gold.crypto_curated group by 1 order by 1")


def test_gold_follows_a_silver_that_was_rebuilt_alone(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    """As the guide says after the seed has learned a coin; another coin left the seed."""
    topic = LandedTopic()
    for symbol in ("ETH", "XRP"):
        quotes(topic, symbol, today - timedelta(hours=4), 40, timedelta(minutes=5))
    topic.land(store)
    warehouse.build()
    assert hours_of(warehouse) == [(52, 40), (1027, 40)]
    warehouse.execute("create table lake_reference.kept as select * from lake_reference.assets")
    warehouse.execute("delete from lake_reference.assets where id = 52")
    warehouse.dbt("run", "--select", "path:models/silver", "--full-refresh")
    warehouse.dbt("run", "--select", "path:models/gold")
    assert hours_of(warehouse) == [(1027, 40)]
    warehouse.execute("insert into lake_reference.assets select * from lake_reference.kept where id = 52")
    warehouse.dbt("run", "--select", "path:models/silver", "--full-refresh")
    assert reported(warehouse.build("--exclude", "assets", "assets_history")) == set()
    assert hours_of(warehouse) == [(52, 40), (1027, 40)]


def test_a_coin_that_changes_symbol_and_bounds_keeps_its_history(
    warehouse: Warehouse, store: S3Store, today: datetime
) -> None:
    topic = LandedTopic()
    start = today - timedelta(hours=3)
    quotes(topic, "ETH", start, 30, timedelta(minutes=5))
    topic.land(store)
    warehouse.build()
    warehouse.execute(
        "update lake_reference.assets set symbol = 'ETHX', name = 'Ether X', min_price = 4000 where id = 1027"
    )
    warehouse.dbt("snapshot")
    for n in range(5):
        at = start + timedelta(minutes=150 + 5 * n)
        topic.send(quote("ETH", 5000.0 + n, at) | {"symbol": "ETHX", "name": "Ether X"}, at, partition=1)
    topic.land(store)
    assert reported(warehouse.build("--exclude", "assets")) == set()
    one_coin_an_hour = "select count(*) - count(distinct hour_start) from lake_gold.crypto_curated"
    assert warehouse.query(one_coin_an_hour) == [(0,)]
    assert hours_of(warehouse) == [(1027, 35)]
    assert warehouse.query("select distinct symbol from lake_gold.kpi_daily") == [("ETHX",)]
    before = content(warehouse)
    warehouse.load("--full-refresh", "--exclude", "assets", "resource_type:test", "resource_type:unit_test")
    assert content(warehouse) == before
    assert warehouse.query("select * from lake_silver.crypto_quarantine") == []
