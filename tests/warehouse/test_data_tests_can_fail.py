"""Every data test can fail: the data is broken in one way for each test, and exactly that test reports the break.

A round makes one break in each table. That proves the same as one break at a time: a test that does not compare
layers reads only its own table and the seed, and the seed has its own rounds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import obstore
import pytest

from include.landing.body import PLAIN
from tests.warehouse.landed_topic import open_bucket
from tests.warehouse.warehouse import Result, Warehouse, reported

pytestmark = [pytest.mark.servers, pytest.mark.slow]

RAW, LETTER = "lake_bronze.crypto_raw", "lake_bronze.crypto_dead_letter"
STAGE, QUARANTINE = "lake_silver.crypto_stage", "lake_silver.crypto_quarantine"
CURATED, ASSETS = "lake_gold.crypto_curated", "lake_reference.assets"
DAILY, LATEST = "lake_gold.kpi_daily", "lake_gold.kpi_latest_price"
TEST_RUN = "lake_monitoring.test_run"
KEYS = {
    RAW: "record_id",
    LETTER: "record_id",
    STAGE: "quote_id",
    QUARANTINE: "record_id",
    CURATED: "quote_hour_id",
    ASSETS: "id",
}

NOISE = {"crypto_raw_price_in_range": f"select count(*) from {RAW} where cast(price as double) > 10000000"}
"""Tests that warn on the undamaged market too, which has faults on purpose, and the query that counts the faults."""


LANDED_CHECKS = {"assert_no_offset_begins_two_files", "assert_bronze_has_each_line_of_its_files"}
WHOLE_FILES = ("--vars", "landed_check_hours: 3")
"""A file of this market has the time of its first record in its name, up to 100 minutes before its last record."""


@dataclass(frozen=True)
class Break:
    """A change of the data that breaks a test. `also` are other tests that this change must break."""

    table: str
    sql: str
    also: frozenset[str] = frozenset()
    lands: str | None = None
    """Query for the S3 address at which a file without records exists while the test runs."""


def land_empty_file_beside_the_newest() -> Break:
    """A second object of the newest file's partition and first offset, under another time."""
    address = f"select max(regexp_replace(source_file, '_[0-9]+-[0-9]+-[0-9]+_p', '_23-59-59_p')) from {RAW}"
    return Break(RAW, "select 1", lands=address)


@contextmanager
def landed(warehouse: Warehouse, damages: Iterable[Break]) -> Iterator[None]:
    """The files of the breaks, in the bucket that all tests share."""
    keys = [warehouse.query(damage.lands)[0][0].split("/", 3)[3] for damage in damages if damage.lands]
    store = open_bucket(warehouse.bucket, warehouse.endpoint)
    for key in keys:
        obstore.put(store, key, PLAIN.encode([]))
    try:
        yield
    finally:
        for key in keys:
            obstore.delete(store, key)


def change_one(table: str, assignment: str, *also: str, where: str = "true") -> Break:
    """One row gets another value."""
    row = f"{KEYS[table]} = (select min({KEYS[table]}) from {table} where {where})"
    return Break(table, f"update {table} set {assignment} where {row}", frozenset(also))


def repeat_key(table: str, column: str) -> Break:
    """One row gets the key of another."""
    another = f"{KEYS[table]} <> (select min({KEYS[table]}) from {table})"
    return change_one(table, f"{column} = (select max({column}) from {table} where {another})")


def repeat_row(table: str) -> Break:
    """One row exists twice, the second time with another key."""
    return Break(
        table,
        f"insert into {table} select * replace ('other' as {KEYS[table]}) from {table} "
        f"where {KEYS[table]} = (select max({KEYS[table]}) from {table})",
    )


def new_test_run(**values: str) -> Break:
    """A row of the test history."""
    row = {"invocation_id": "'i'", "node_id": "'n'", "status": "'pass'"}
    row |= dict.fromkeys(("executed_at", "loaded_at"), "now()::timestamp") | values
    return Break(TEST_RUN, f"insert into {TEST_RUN} ({', '.join(row)}) values ({', '.join(row.values())})")


def change_view(view: str, assignment: str) -> Break:
    """Every row of a view gets another value: a table with its rows takes the place of the view."""
    return Break(
        view,
        f"create temp table shown as from {view}; drop view {view}; create table {view} as from shown; "
        f"drop table shown; update {view} set {assignment}",
    )


def change_all(table: str, assignment: str) -> Break:
    """Every row gets another value."""
    return Break(table, f"update {table} set {assignment}")


BREAKS: dict[str, Break] = {
    # bronze
    "not_null_crypto_raw_record_id": change_one(RAW, "record_id = null"),
    "unique_crypto_raw_record_id": repeat_key(RAW, "record_id"),
    "crypto_raw_no_duplicate_ids": repeat_row(RAW),
    "not_empty_string_crypto_raw_kafka_topic": change_one(RAW, "kafka_topic = ''"),
    "not_null_crypto_raw_kafka_partition": change_one(RAW, "kafka_partition = null"),
    "not_null_crypto_raw_kafka_offset": change_one(RAW, "kafka_offset = null"),
    "not_null_crypto_raw_kafka_timestamp": change_one(RAW, "kafka_timestamp = null"),
    "crypto_raw_recency_check": change_all(
        RAW,
        "kafka_timestamp = kafka_timestamp - interval 8 day, "
        "source_file = 's3://lake/crypto_data/' || strftime(kafka_timestamp - interval 8 day, '%Y/%m/%d') || '/f.json'",
    ),
    "not_null_crypto_raw_id": change_one(RAW, "id = null"),
    "not_empty_string_crypto_raw_symbol": change_one(RAW, "symbol = ' ' || chr(9)"),
    "not_empty_string_crypto_raw_name": change_one(RAW, "name = null"),
    "crypto_raw_price_in_range": change_one(RAW, "price = 'a lot'"),
    "not_empty_string_crypto_raw_last_updated": change_one(RAW, "last_updated = ''"),
    "not_empty_string_crypto_raw_record": change_one(RAW, "record = ''"),
    "not_empty_string_crypto_raw_source_file": change_one(
        RAW, "source_file = ''", "assert_files_are_filed_under_the_day_of_their_records"
    ),
    "not_null_crypto_raw_loaded_at": change_one(RAW, "loaded_at = null"),
    "assert_files_are_filed_under_the_day_of_their_records": change_one(
        RAW, "source_file = 's3://lake/crypto_data/2020/01/01/crypto_data_00-00-00_p00000_o00000000000000000000.json'"
    ),
    "assert_no_offset_begins_two_files": land_empty_file_beside_the_newest(),
    "assert_bronze_has_each_line_of_its_files": Break(
        RAW,  # a later load had the other partitions only; the last record of this partition gets lost
        f"update {RAW} set loaded_at = loaded_at + interval 1 second "
        f"where kafka_partition <> (select max_by(kafka_partition, kafka_offset) from {RAW});"
        f"delete from {RAW} where kafka_offset = (select max(kafka_offset) from {RAW})",
    ),
    "not_null_crypto_dead_letter_record_id": change_one(LETTER, "record_id = null"),
    "unique_crypto_dead_letter_record_id": repeat_key(LETTER, "record_id"),
    "not_null_crypto_dead_letter_kafka_partition": change_one(LETTER, "kafka_partition = null"),
    "not_null_crypto_dead_letter_kafka_offset": change_one(LETTER, "kafka_offset = null"),
    "not_empty_string_crypto_dead_letter_error_class": change_one(LETTER, "error_class = ''"),
    # silver
    "not_null_crypto_stage_quote_id": change_one(STAGE, "quote_id = null"),
    "unique_crypto_stage_quote_id": repeat_key(STAGE, "quote_id"),
    "crypto_stage_no_duplicate_ids": Break(
        STAGE,
        f"insert into {STAGE} select * replace ('other' as quote_id, 'other' as record_id) from {STAGE} "
        f"where last_updated = (select max(last_updated) from {STAGE}) limit 1",
    ),
    "not_null_crypto_stage_id": change_one(STAGE, "id = null"),
    "crypto_stage_id_is_a_known_asset": change_one(STAGE, "id = -1"),
    "not_empty_string_crypto_stage_symbol": change_one(STAGE, "symbol = null"),
    "crypto_stage_accepted_symbols": change_one(STAGE, "symbol = 'NONE'"),
    "not_empty_string_crypto_stage_name": change_one(STAGE, "name = ''"),
    "not_null_crypto_stage_price": change_one(STAGE, "price = null"),
    "crypto_stage_price_in_range": change_one(
        STAGE,  # not the first quote: a jump needs an earlier price above 0
        "price = 0",
        "assert_no_price_jump",
        where=f"symbol = 'XRP' and last_updated > (select min(last_updated) from {STAGE} where symbol = 'XRP')",
    ),
    # The newest quote: without a time it still sorts last, so no price jump appears.
    "not_null_crypto_stage_last_updated": change_one(
        STAGE, "last_updated = null", where=f"last_updated = (select max(last_updated) from {STAGE})"
    ),
    "crypto_stage_recency_check": change_all(STAGE, "last_updated = last_updated - interval 4 day"),
    "crypto_stage_quote_is_not_from_the_future": change_one(STAGE, "delay_seconds = -400"),
    "not_null_crypto_stage_record_id": change_one(STAGE, "record_id = null"),
    "unique_crypto_stage_record_id": repeat_key(STAGE, "record_id"),
    "not_null_crypto_stage_kafka_timestamp": change_one(STAGE, "kafka_timestamp = null"),
    "not_null_crypto_stage_loaded_at": change_one(STAGE, "loaded_at = null"),
    "assert_no_price_jump": change_one(STAGE, "price = price * 1.2"),
    "assert_no_frozen_price": change_all(STAGE, "price = case when symbol = 'XRP' then 2 else price end"),
    "not_null_crypto_quarantine_record_id": change_one(QUARANTINE, "record_id = null"),
    "unique_crypto_quarantine_record_id": repeat_key(QUARANTINE, "record_id"),
    "not_null_crypto_quarantine_broken_rule": change_one(QUARANTINE, "broken_rule = null"),
    "crypto_quarantine_accepted_rules": change_one(QUARANTINE, "broken_rule = 'bad_mood'"),
    # gold
    "not_null_crypto_curated_quote_hour_id": change_one(CURATED, "quote_hour_id = null"),
    "unique_crypto_curated_quote_hour_id": repeat_key(CURATED, "quote_hour_id"),
    "crypto_curated_no_duplicate_ids": repeat_row(CURATED),
    "crypto_curated_id_is_a_known_asset": change_one(CURATED, "id = -1"),
    "not_empty_string_crypto_curated_symbol": change_one(CURATED, "symbol = ''", "crypto_curated_accepted_symbols"),
    "crypto_curated_accepted_symbols": change_one(CURATED, "symbol = 'NONE'"),
    "not_empty_string_crypto_curated_name": change_one(CURATED, "name = null"),
    "not_null_crypto_curated_hour_start": change_one(
        CURATED, "hour_start = null", "crypto_curated_quotes_lie_in_their_hour"
    ),
    "crypto_curated_high_price_in_range": change_one(CURATED, "high_price = 20000000"),
    "crypto_curated_low_price_in_range": change_one(CURATED, "low_price = 0"),
    "not_null_crypto_curated_close_price": change_one(CURATED, "close_price = null"),
    "not_null_crypto_curated_average_price": change_one(
        CURATED, "average_price = null", "crypto_curated_prices_are_ordered"
    ),
    "crypto_curated_prices_are_ordered": change_one(CURATED, "open_price = high_price * 2"),
    "crypto_curated_quotes_lie_in_their_hour": change_one(CURATED, "first_quote_at = hour_start - interval 1 second"),
    "crypto_curated_recency_check": change_all(
        CURATED,
        "hour_start = hour_start - interval 3 hour, first_quote_at = first_quote_at - interval 3 hour, "
        "last_quote_at = last_quote_at - interval 3 hour",
    ),
    "assert_no_hour_with_low_volume": Break(
        CURATED,
        f"insert into {CURATED} select hours.* replace (quote_hour_id || n as quote_hour_id, "
        f"hour_start - n * interval 1 day as hour_start, first_quote_at - n * interval 1 day as first_quote_at, "
        f"last_quote_at - n * interval 1 day as last_quote_at, 300 as quote_count) "
        f"from (select * from {CURATED} where symbol = 'BTC' and hour_start = "
        f"(select max(hour_start) - interval 2 hour from {CURATED})) as hours, range(2, 6) as days(n)",
    ),
    "not_null_kpi_daily_id": change_view(DAILY, "id = null"),
    "not_null_kpi_latest_price_id": change_view(LATEST, "id = null"),
    "kpi_latest_price_lies_in_its_ranges": change_view(LATEST, "price = 2 * high_price_24h"),
    # reference data
    "not_null_assets_id": change_one(ASSETS, "id = null"),
    "unique_assets_id": repeat_key(ASSETS, "id"),
    "not_null_assets_symbol": change_one(ASSETS, "symbol = null"),
    "unique_assets_symbol": repeat_key(ASSETS, "symbol"),
    # the test history
    "not_null_test_run_invocation_id": new_test_run(invocation_id="null"),
    "not_null_test_run_executed_at": new_test_run(executed_at="null"),
    "not_null_test_run_node_id": new_test_run(node_id="null"),
    "test_run_accepted_status": new_test_run(status="'perhaps'"),
    # across layers
    "assert_offsets_have_no_hole": Break(
        RAW,  # a later load had the other partitions only
        f"update {RAW} set loaded_at = loaded_at - interval 1 second where kafka_partition = 1;"
        f"delete from {RAW} where kafka_partition = 1 and kafka_offset = 700",
    ),
    "assert_every_bronze_row_is_in_silver_or_quarantine": Break(
        QUARANTINE, f"delete from {QUARANTINE} where record_id = (select min(record_id) from {QUARANTINE})"
    ),
    "assert_gold_adds_up_to_silver": change_one(CURATED, "quote_count = quote_count + 1"),
}

ACROSS_LAYERS = {
    "assert_offsets_have_no_hole": frozenset({"assert_every_bronze_row_is_in_silver_or_quarantine"}),
    "assert_every_bronze_row_is_in_silver_or_quarantine": frozenset[str](),
    "assert_gold_adds_up_to_silver": frozenset[str](),
}
"""Tests that compare layers, each with the others that see the same damage."""


def rounds() -> list[list[str]]:
    """Names of the breaks, at most one for each table and round. The seed, which others read, breaks alone."""
    by_table: dict[str, list[str]] = defaultdict(list)
    for name, damage in BREAKS.items():
        if name not in ACROSS_LAYERS:
            by_table[damage.table].append(name)
    alone = by_table.pop(ASSETS)
    return [[name for name in names if name] for names in zip_longest(*by_table.values())] + [[name] for name in alone]


def assert_failing_rows_are_stored(warehouse: Warehouse, results: Mapping[str, Result], names: Iterable[str]) -> None:
    """The failing rows of a test are in a table of its name."""
    for name in names:
        assert results[name].failures
        assert warehouse.query(f"select count(*) from lake_test_failures.{name}") == [(results[name].failures,)]


def model_of(table: str) -> str:
    """Name of the node that builds a table."""
    return table.split(".")[1]


def test_no_data_test_is_left_out(built_warehouse: Callable[[Path], Warehouse], tmp_path: Path) -> None:
    warehouse = built_warehouse(tmp_path / "warehouse")
    assert set(warehouse.invoke("list", "--resource-type", "test", "--output", "name")) == set(BREAKS)


def test_a_test_reads_only_its_own_table_and_the_seed(
    built_warehouse: Callable[[Path], Warehouse], tmp_path: Path
) -> None:
    """Otherwise a round could not break several tables."""
    warehouse = built_warehouse(tmp_path / "warehouse")
    manifest: Any = warehouse.invoke("parse")
    for node in manifest.nodes.values():
        if node.resource_type == "test" and node.name not in ACROSS_LAYERS:
            read = {name.split(".")[-1] for name in node.depends_on.nodes}
            own = model_of(BREAKS[node.name].table)
            assert read - {"assets", "crypto_raw_data"} <= {own}, node.name


@pytest.mark.parametrize("names", rounds(), ids=lambda names: names[0])
def test_a_broken_table_is_reported_by_exactly_its_test(
    names: list[str], built_warehouse: Callable[[Path], Warehouse], tmp_path: Path
) -> None:
    warehouse = built_warehouse(tmp_path / "warehouse")
    noise = {name: warehouse.query(sql)[0][0] for name, sql in NOISE.items() if name in names}
    warehouse.execute(";".join(BREAKS[name].sql for name in names))
    tables = [model_of(BREAKS[name].table) for name in names]
    with landed(warehouse, (BREAKS[name] for name in names)):
        wide = WHOLE_FILES if LANDED_CHECKS & set(names) else ()
        results = warehouse.dbt("test", "--select", *tables, "--exclude", "tag:cross_layer", *wide)
    reports = reported(results) - (NOISE.keys() - set(names))
    for name, table in zip(names, tables, strict=True):
        by_its_tests = {other for other in reports if model_of(BREAKS[other].table) == table}
        assert by_its_tests == {name} | BREAKS[name].also
    assert_failing_rows_are_stored(warehouse, results, names)
    for name, before in noise.items():
        assert results[name].failures == before + 1


def test_a_file_that_landed_after_the_last_load_is_no_fault(
    built_warehouse: Callable[[Path], Warehouse], tmp_path: Path
) -> None:
    """A batch may become visible after its successor. The next load takes such a batch."""
    warehouse = built_warehouse(tmp_path / "warehouse")
    newest = warehouse.query(f"select max_by(source_file, kafka_offset) from {RAW}")[0][0]
    earlier = re.sub(r"(?<=_o)\d+", lambda offset: f"{int(offset[0]) - 1:020}", newest).split("/", 3)[3]
    store = open_bucket(warehouse.bucket, warehouse.endpoint)
    obstore.put(store, earlier, PLAIN.encode([b'{"_topic": "late"}']))
    try:
        results = warehouse.dbt("test", "--select", "assert_bronze_has_each_line_of_its_files", *WHOLE_FILES)
    finally:
        obstore.delete(store, earlier)
    assert reported(results) == set()


@pytest.mark.parametrize("name", ACROSS_LAYERS)
def test_layers_that_disagree_are_reported(
    name: str, built_warehouse: Callable[[Path], Warehouse], tmp_path: Path
) -> None:
    warehouse = built_warehouse(tmp_path / "warehouse")
    warehouse.execute(BREAKS[name].sql)
    results = warehouse.dbt("test", "--select", "tag:cross_layer")
    assert reported(results) == {name} | ACROSS_LAYERS[name]
    assert_failing_rows_are_stored(warehouse, results, [name])


def test_a_silent_coin_is_reported_and_a_pause_of_all_coins_is_not(
    built_warehouse: Callable[[Path], Warehouse], tmp_path: Path
) -> None:
    """ETH has quotes of four days, the other coins of nine: the time before the first quote is no silence.

    The last three hours are no silence either: the quotes of the partition may be late.
    """
    warehouse = built_warehouse(tmp_path / "warehouse")
    [(newest,)] = warehouse.query(f"select max(hour_start) from {CURATED}")
    warehouse.execute(f"delete from {CURATED} where hour_start < '{newest - timedelta(hours=24)}'")
    warehouse.execute(
        f"insert into {CURATED} select hours.* replace (quote_hour_id || n as quote_hour_id, "
        f"hour_start - n * interval 1 day as hour_start) from {CURATED} as hours, range(1, 9) as days(n) "
        f"where hour_start < '{newest}' and (n < 4 or symbol <> 'ETH')"
    )
    low_volume = ("test", "--select", "assert_no_hour_with_low_volume")

    pause, silence = newest - timedelta(hours=4), newest - timedelta(hours=5)
    warehouse.execute(f"delete from {CURATED} where hour_start = '{pause}'")
    warehouse.execute(f"delete from {CURATED} where hour_start > '{newest - timedelta(hours=3)}' and symbol = 'ETH'")
    assert reported(warehouse.dbt(*low_volume)) == set()
    warehouse.execute(f"delete from {CURATED} where hour_start >= '{silence}' and symbol = 'ETH'")
    assert reported(warehouse.dbt(*low_volume)) == {"assert_no_hour_with_low_volume"}
    rows = "select symbol, hour_start, quote_count from lake_test_failures.assert_no_hour_with_low_volume order by 2"
    assert warehouse.query(rows) == [("ETH", silence, 0), ("ETH", newest - timedelta(hours=3), 0)]
