"""A run loads every landed record once, in whatever order the files land."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import obstore
import pytest
from obstore.store import S3Store

from include.landing.body import PLAIN
from include.landing.layout import object_key
from tests.warehouse.landed_topic import TOPIC, LandedTopic, market_day, milliseconds, quote
from tests.warehouse.rows import content, loaded_offsets, quotes
from tests.warehouse.warehouse import DbtError, Warehouse, reported

pytestmark = pytest.mark.servers

COUNTS = """
    select
        (select count(*) from lake_bronze.crypto_raw),
        (select count(*) from lake_bronze.crypto_dead_letter),
        (select count(*) from lake_silver.crypto_stage),
        (select count(*) from lake_silver.crypto_quarantine),
        (select count(*) from lake_gold.crypto_curated)
"""
NOT_IN_EXACTLY_ONE = """
    select record_id from lake_bronze.crypto_raw
    where
        (select count(*) from lake_silver.crypto_stage as s where s.record_id = crypto_raw.record_id)
        + (select count(*) from lake_silver.crypto_quarantine as q where q.record_id = crypto_raw.record_id) <> 1
"""
WATERMARKS = "select * from lake_silver.crypto_stage_taken union all select * from lake_silver.crypto_quarantine_taken"


def test_an_empty_bucket_gives_empty_tables_and_a_stale_gold(warehouse: Warehouse) -> None:
    results = warehouse.build()
    assert warehouse.query(COUNTS) == [(0, 0, 0, 0, 0)]
    assert reported(results) == {
        "crypto_raw_recency_check",
        "crypto_stage_recency_check",
        "crypto_curated_recency_check",
    }
    assert results["crypto_curated_recency_check"].status == "fail"
    assert warehouse.query("select problem from lake_test_failures.crypto_curated_recency_check") == [
        ("no rows of the last 30 days",)
    ]


def test_empty_tables_fill_when_files_land(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    warehouse.load()
    topic = LandedTopic()
    quotes(topic, "ETH", today - timedelta(hours=1), 5, timedelta(minutes=1))
    topic.land(store)
    assert reported(warehouse.build()) == set()
    assert warehouse.query(COUNTS) == [(5, 0, 5, 0, 1)]


def test_a_file_without_valid_messages_gives_no_rows(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    for _ in range(3):
        topic.send(b"not json", today, error="not_json")
    topic.land(store)
    warehouse.load()
    assert warehouse.query(COUNTS) == [(0, 3, 0, 0, 0)]


def test_dead_letters_are_read_after_the_records(warehouse: Warehouse) -> None:
    """Otherwise a dead letter between two records of a run would be missing, and a hole reported."""
    dead_letters = warehouse.invoke("parse").nodes["model.crypto_lakehouse.crypto_dead_letter"]
    assert "model.crypto_lakehouse.crypto_raw" in dead_letters.depends_on.nodes


HOLES = ("test", "--select", "assert_offsets_have_no_hole")


def five_loaded_quotes(warehouse: Warehouse, store: S3Store, today: datetime) -> LandedTopic:
    """A topic with five quotes, an hour old, in every layer."""
    topic = LandedTopic()
    quotes(topic, "BTC", today - timedelta(hours=1), 5, timedelta(minutes=1))
    topic.land(store)
    warehouse.load()
    return topic


def test_a_dead_letter_after_the_rows_of_bronze_is_no_hole(
    warehouse: Warehouse, store: S3Store, today: datetime
) -> None:
    """The dead letter landed between the two models of a run: crypto_raw has not read it, crypto_dead_letter has."""
    topic = five_loaded_quotes(warehouse, store, today)
    quotes(topic, "BTC", today - timedelta(minutes=30), 3, timedelta(minutes=1))
    topic.send(b"not json", today, error="not_json")
    topic.land(store)
    warehouse.dbt("run", "--select", "crypto_dead_letter")
    assert reported(warehouse.dbt(*HOLES)) == set()
    for minutes in (20, 10):
        quotes(topic, "BTC", today - timedelta(minutes=minutes), 1, timedelta(minutes=1))
        topic.land(store)
        warehouse.dbt("run", "--select", "crypto_raw")
    assert reported(warehouse.dbt(*HOLES)) == set(), "after later records it is checked; there is no hole"
    warehouse.execute("delete from lake_bronze.crypto_dead_letter")
    assert reported(warehouse.dbt(*HOLES)) == {"assert_offsets_have_no_hole"}


def test_a_dead_letter_after_the_load_of_its_batch_is_no_hole(
    warehouse: Warehouse, store: S3Store, today: datetime
) -> None:
    """The dead letters of a batch land after its records, and a run may read in between."""
    topic = five_loaded_quotes(warehouse, store, today)
    topic.send(b"not json", today - timedelta(minutes=30), error="not_json")
    quotes(topic, "BTC", today - timedelta(minutes=20), 3, timedelta(minutes=1))
    records, letters = topic.files()
    obstore.put(store, *records)
    warehouse.load()
    assert reported(warehouse.dbt(*HOLES)) == set()
    quotes(topic, "BTC", today - timedelta(minutes=10), 1, timedelta(minutes=1))
    topic.land(store)
    warehouse.dbt("run", "--select", "crypto_raw")
    assert reported(warehouse.dbt(*HOLES)) == {"assert_offsets_have_no_hole"}, "after the next load it is missing"
    obstore.put(store, *letters)
    warehouse.load()
    assert reported(warehouse.dbt(*HOLES)) == set()


def test_offsets_that_the_next_record_names_are_no_hole(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    """Transaction markers, between the records of a file and between two files."""
    five_loaded_quotes(warehouse, store, today)
    prefix = PLAIN.prefix(TOPIC, 0)

    def land(minutes: int, *places: tuple[int, int]) -> None:
        """Land a file with a record at each offset, after a hole of so many offsets, and load it."""
        time = milliseconds(today - timedelta(minutes=minutes))
        message = json.dumps(quote("BTC", 95_000.0, today - timedelta(minutes=minutes))).encode()
        records = [PLAIN.join(prefix, offset, [time], [message], hole) for offset, hole in places]
        key = object_key("crypto_data/", "crypto_data", 0, places[0][0], time)
        obstore.put(store, key, PLAIN.encode(records))
        warehouse.dbt("run", "--select", "path:models/bronze")

    land(40, (7, 2), (8, 0), (10, 1))
    land(30, (14, 3))
    land(20, (15, 0))
    assert reported(warehouse.dbt(*HOLES)) == set()
    land(10, (19, 2))
    land(5, (20, 0))
    assert reported(warehouse.dbt(*HOLES)) == {"assert_offsets_have_no_hole"}
    assert warehouse.query("select last_offset, next_offset from lake_test_failures.assert_offsets_have_no_hole") == [
        (15, 19)
    ]


def test_a_record_may_have_any_time(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    """With CreateTime a producer sets it: before 1970, or after the year 9999."""
    message = json.dumps(quote("BTC", 95_000.0, today)).encode()
    for offset, time in enumerate((-1, 0, milliseconds(today), 253_402_300_800_000, 2**63 - 1)):
        key = object_key("crypto_data/", "crypto_data", 0, offset, time)
        obstore.put(store, key, PLAIN.encode([PLAIN.join(PLAIN.prefix(TOPIC, 0), offset, [time], [message])]))
    warehouse.dbt("run", "--full-refresh", "--select", "path:models/bronze")
    years = [(1970,), (1970,), (today.year,), (9999,), (9999,)]
    assert warehouse.query("select year(kafka_timestamp) from lake_bronze.crypto_raw order by kafka_offset") == years


def test_a_hole_that_begins_before_the_window_is_seen(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    """Nothing was loaded for longer than the window of tests, and records were lost in this time."""
    topic = LandedTopic(cell=10)
    quotes(topic, "ETH", today - timedelta(days=5), 10, timedelta(seconds=1))
    topic.land(store)
    warehouse.load()
    warehouse.execute("update lake_bronze.crypto_raw set loaded_at = loaded_at - interval 5 day")
    quotes(topic, "ETH", today - timedelta(minutes=30), 10, timedelta(seconds=1))
    lost = list(topic.files())
    for minutes in (20, 10):
        quotes(topic, "ETH", today - timedelta(minutes=minutes), 10, timedelta(seconds=1))
        topic.land(store)
        warehouse.dbt("run", "--select", "path:models/bronze")
    assert reported(warehouse.dbt(*HOLES)) == {"assert_offsets_have_no_hole"}
    assert warehouse.query("select last_offset, next_offset from lake_test_failures.assert_offsets_have_no_hole") == [
        (9, 20)
    ]
    for key, body in lost:
        obstore.put(store, key, body)
    warehouse.dbt("run", "--select", "path:models/bronze")
    assert reported(warehouse.dbt(*HOLES)) == set()


@pytest.mark.parametrize("built", [["crypto_raw"], ["crypto_raw", "crypto_stage"]], ids=["bronze", "bronze_and_stage"])
def test_layers_do_not_disagree_during_a_run(
    warehouse: Warehouse, store: S3Store, today: datetime, built: list[str]
) -> None:
    """The nightly tests may run during a transform run."""
    topic = LandedTopic()
    land_an_hour(topic, store, today, 3)
    warehouse.load()
    land_an_hour(topic, store, today, 2)
    warehouse.dbt("run", "--select", *built)
    every_row = ("test", "--select", "tag:cross_layer", "--vars", "test_window_days: null")
    assert reported(warehouse.dbt(*every_row)) == set()


def test_a_second_run_changes_nothing(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    market_day(topic, today - timedelta(hours=4), hours=4)
    topic.land(store)
    warehouse.load()
    before = content(warehouse)
    warehouse.load()
    assert content(warehouse) == before


def test_several_runs_equal_one_run(
    warehouse: Warehouse, store: S3Store, today: datetime, tmp_path_factory: pytest.TempPathFactory
) -> None:
    topic = LandedTopic()
    for step in range(3):
        market_day(topic, today - timedelta(hours=3 - step), hours=1, seed=step)
        topic.land(store)
        warehouse.load()
    stepwise = content(warehouse)
    at_once = Warehouse(tmp_path_factory.mktemp("once"), warehouse.artifacts, warehouse.bucket, warehouse.endpoint)
    at_once.load()
    assert content(at_once) == stepwise


def test_a_full_refresh_gives_the_same(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    for hour in (3, 2):
        market_day(topic, today - timedelta(hours=hour), hours=1, seed=hour)
        topic.land(store)
        warehouse.load()
    before = content(warehouse)
    warehouse.load("--full-refresh")
    assert content(warehouse) == before


def test_a_file_that_lands_after_newer_files_is_loaded(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic(cell=10)
    quotes(topic, "ETH", today - timedelta(hours=2), 30, timedelta(minutes=2))
    files = list(topic.files())
    assert len(files) >= 3
    for key, body in [files[0], *files[2:]]:
        obstore.put(store, key, body)
    warehouse.load()
    quotes(topic, "ETH", today, 1, timedelta(minutes=2))
    topic.land(store)
    assert "assert_offsets_have_no_hole" in reported(warehouse.build())
    obstore.put(store, *files[1])
    assert reported(warehouse.build()) == set()
    assert loaded_offsets(warehouse, 1) == list(range(31))


def test_a_partition_that_lags_a_week_is_loaded_completely(
    warehouse: Warehouse, store: S3Store, today: datetime
) -> None:
    week_ago = today - timedelta(days=7)
    topic = LandedTopic()
    quotes(topic, "XRP", week_ago, 20, timedelta(hours=8))
    lagging = list(topic.files({2}))
    quotes(topic, "ETH", week_ago, 7 * 24 + 1, timedelta(hours=1))
    topic.land(store, {1})
    obstore.put(store, *lagging[0])
    warehouse.load()
    for key, body in lagging[1:]:
        obstore.put(store, key, body)
    warehouse.load()
    assert loaded_offsets(warehouse, 2) == list(range(20))
    assert loaded_offsets(warehouse, 1) == list(range(7 * 24 + 1))


@pytest.mark.parametrize("caught_up", [False, True], ids=["still_behind", "caught_up_at_once"])
def test_dead_letters_of_a_partition_that_lags_are_loaded(
    warehouse: Warehouse, store: S3Store, today: datetime, caught_up: bool
) -> None:
    """The partition had no dead letter before, and the newest dead letter of another partition is hours later."""
    topic = LandedTopic()
    quotes(topic, "BTC", today - timedelta(hours=2), 3, timedelta(minutes=1))
    topic.send(b"not json", today, partition=0, error="not_json")
    quotes(topic, "ETH", today - timedelta(hours=8), 3, timedelta(minutes=1))
    topic.land(store)
    warehouse.load()
    topic.send(b"not json", today - timedelta(hours=6), partition=1, error="not_json")
    topic.land(store)
    if caught_up:
        quotes(topic, "ETH", today, 3, timedelta(minutes=1))
        topic.land(store)
    warehouse.load()
    assert warehouse.query("select kafka_partition, kafka_offset from lake_bronze.crypto_dead_letter order by 1") == [
        (0, 3),
        (1, 3),
    ]


def test_the_next_run_finds_a_new_partition(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    quotes(topic, "ETH", today - timedelta(days=6), 6 * 24 + 1, timedelta(hours=1))
    quotes(topic, "XRP", today - timedelta(days=6), 10, timedelta(hours=1))
    topic.land(store, {1})
    warehouse.load()
    topic.land(store, {2})
    warehouse.load()
    assert loaded_offsets(warehouse, 2) == list(range(10))


def test_nothing_is_loaded_twice_after_a_long_silence(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    quotes(topic, "ETH", today - timedelta(days=30), 10, timedelta(hours=1))
    topic.land(store)
    warehouse.load()
    quotes(topic, "ETH", today - timedelta(hours=1), 5, timedelta(minutes=1))
    topic.land(store)
    warehouse.load()
    assert loaded_offsets(warehouse, 1) == list(range(15))


def test_an_operator_can_load_every_file_from_a_day_on(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    quotes(topic, "ETH", today, 1, timedelta(hours=1))
    quotes(topic, "XRP", today - timedelta(days=30), 3, timedelta(hours=1))
    topic.land(store, {1})
    warehouse.load()
    topic.land(store, {2})
    since = (today - timedelta(days=40)).date().isoformat()
    warehouse.load("--select", "crypto_raw", "--vars", json.dumps({"landing_since": since}))
    assert loaded_offsets(warehouse, 2) == [0, 1, 2]


def test_a_late_quote_changes_only_its_hour(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    start = today - timedelta(hours=5)
    quotes(topic, "ETH", start, 30, timedelta(minutes=10))
    topic.land(store)
    warehouse.load()
    before = dict(warehouse.query("select hour_start, quote_count from lake_gold.crypto_curated"))
    topic.send(quote("ETH", 3005.5, start + timedelta(minutes=65)), today)
    topic.land(store)
    warehouse.load()
    after = dict(warehouse.query("select hour_start, quote_count from lake_gold.crypto_curated"))
    hour = (start + timedelta(hours=1)).replace(tzinfo=None)
    assert after == before | {hour: 7}


def test_the_first_row_of_a_quote_is_kept_across_runs(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    for price in (3000.0, 3111.0):
        topic.send(quote("ETH", price, today), today)
        topic.land(store)
        warehouse.load()
    assert warehouse.query("select price::double, kafka_offset from lake_silver.crypto_stage") == [(3000.0, 0)]
    assert warehouse.query("select broken_rule, kafka_offset from lake_silver.crypto_quarantine") == [("duplicate", 1)]


def test_a_quote_within_the_same_millisecond_is_a_duplicate(
    warehouse: Warehouse, store: S3Store, today: datetime
) -> None:
    topic = LandedTopic()
    at = today - timedelta(minutes=5)
    for microseconds in (100, 200):
        sent = (at + timedelta(microseconds=microseconds)).isoformat()
        topic.send(quote("BTC", 95_000.0, at) | {"last_updated": sent}, today)
    topic.land(store)
    assert reported(warehouse.build()) == set()
    assert warehouse.query("select kafka_offset from lake_silver.crypto_stage") == [(0,)]
    assert warehouse.query("select broken_rule, kafka_offset from lake_silver.crypto_quarantine") == [("duplicate", 1)]


def test_a_new_field_is_kept_in_bronze(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    topic.send(quote("ETH", 3000.0, today, market={"cap": 12.50}), today)
    topic.land(store)
    warehouse.load()
    [(cap,)] = warehouse.query("select record ->> '$.market.cap' from lake_bronze.crypto_raw")
    assert float(cap) == 12.5


def test_silver_and_gold_can_be_rebuilt_alone(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic = LandedTopic()
    market_day(topic, today - timedelta(hours=2), hours=2)
    topic.land(store)
    warehouse.load()
    before = content(warehouse)
    warehouse.execute("drop table lake_silver.crypto_stage; drop table lake_gold.crypto_curated")
    assert reported(warehouse.build()) <= {"crypto_raw_price_in_range", "assert_no_price_jump"}
    assert content(warehouse) == before


def land_an_hour(topic: LandedTopic, store: S3Store, today: datetime, hours_ago: int, faults: bool = True) -> None:
    market_day(topic, today - timedelta(hours=hours_ago), hours=1, seed=hours_ago, faults=faults)
    topic.land(store)


def test_a_run_reads_only_new_loads_when_no_row_is_refused(
    warehouse: Warehouse, store: S3Store, today: datetime
) -> None:
    topic = LandedTopic()
    land_an_hour(topic, store, today, 3, faults=False)
    warehouse.load()
    # The next run would refuse the one row and take the other if it read the earlier load again.
    warehouse.execute("update lake_bronze.crypto_raw set price = 'a lot' where kafka_offset = 0")
    warehouse.execute("delete from lake_silver.crypto_stage where kafka_offset = 1")
    land_an_hour(topic, store, today, 2, faults=False)
    warehouse.load()
    assert warehouse.query("select * from lake_silver.crypto_quarantine") == []
    assert warehouse.query("select * from lake_silver.crypto_stage where kafka_offset = 1") == []
    newest = warehouse.query("select max(loaded_at)::varchar from lake_bronze.crypto_raw")
    assert warehouse.query(WATERMARKS) == newest * 2


def test_a_run_reads_only_new_loads_when_every_row_is_refused(
    warehouse: Warehouse, store: S3Store, today: datetime
) -> None:
    topic = LandedTopic()
    for n in range(2):
        topic.send(quote("ETH", -1.0, today - timedelta(minutes=10 - n)), today)
        topic.land(store)
        warehouse.load()
        assert warehouse.query("select count(*) from lake_silver.crypto_quarantine") == [(n + 1,)]
        warehouse.execute("update lake_bronze.crypto_raw set price = '3000'")
    assert warehouse.query("select * from lake_silver.crypto_stage") == []
    newest = warehouse.query("select max(loaded_at)::varchar from lake_bronze.crypto_raw")
    assert warehouse.query(WATERMARKS) == newest * 2


@pytest.mark.parametrize(
    "runs",
    [
        [("crypto_raw", "crypto_stage"), ("crypto_raw",), ("crypto_quarantine",)],
        [("crypto_raw", "crypto_quarantine"), ("crypto_quarantine",)],
        [("crypto_raw", "crypto_stage"), ("crypto_raw", "crypto_stage")],
        [("crypto_stage", "--full-refresh"), ("crypto_quarantine", "--full-refresh")],
        [("crypto_raw",), ("crypto_quarantine", "--full-refresh")],
    ],
    ids=[
        "quarantine_after_stage_after_bronze",
        "quarantine_alone_before_stage",
        "a_run_that_died_between_the_two_twice",
        "each_of_the_two_rebuilt",
        "quarantine_rebuilt_before_stage",
    ],
)
def test_every_row_is_in_one_table_whichever_model_runs_alone(
    warehouse: Warehouse, store: S3Store, today: datetime, runs: list[tuple[str, ...]]
) -> None:
    """Each of `runs` selects some models; before it another hour lands."""
    topic = LandedTopic()
    land_an_hour(topic, store, today, 9)
    warehouse.load()
    for n, (first, *more) in enumerate(runs):
        land_an_hour(topic, store, today, 8 - n)
        warehouse.dbt("run", "--select", first, *more)
        doubled = (
            "select record_id from lake_silver.crypto_stage semi join lake_silver.crypto_quarantine using (record_id)"
        )
        assert warehouse.query(doubled) == []
    warehouse.load()
    assert warehouse.query(NOT_IN_EXACTLY_ONE) == []
    stepwise = content(warehouse)
    warehouse.load("--full-refresh")
    assert content(warehouse) == stepwise


def test_a_model_without_a_watermark_goes_on_after_its_newest_row(
    warehouse: Warehouse, store: S3Store, today: datetime
) -> None:
    """A warehouse that an older version built may have no watermarks."""
    topic = LandedTopic()
    land_an_hour(topic, store, today, 3)
    warehouse.load()
    warehouse.execute("drop view lake_silver.crypto_stage_taken; drop view lake_silver.crypto_quarantine_taken")
    land_an_hour(topic, store, today, 2)
    warehouse.load()
    assert warehouse.query(NOT_IN_EXACTLY_ONE) == []
    newest = warehouse.query("select max(loaded_at)::varchar from lake_bronze.crypto_raw")
    assert warehouse.query(WATERMARKS) == newest * 2


def test_a_load_that_is_processed_twice_changes_nothing(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    """On Athena a run can die between the statements that write a table and its watermark."""
    topic = LandedTopic()
    for hours_ago in (3, 2):
        land_an_hour(topic, store, today, hours_ago)
        warehouse.load()
    before = content(warehouse)
    for table in ("crypto_stage", "crypto_quarantine"):
        warehouse.execute(
            f"create or replace view lake_silver.{table}_taken as select '1970-01-01 00:00:00' as taken_until"
        )
    warehouse.load()
    assert content(warehouse) == before
    newest = warehouse.query("select max(loaded_at)::varchar from lake_bronze.crypto_raw")
    assert warehouse.query(WATERMARKS) == newest * 2


def test_silver_refuses_a_bronze_that_was_rebuilt(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    """After a full refresh that died, a run without the flag would find all of bronze to be duplicates."""
    topic = LandedTopic()
    land_an_hour(topic, store, today, 3)
    warehouse.load()
    before = content(warehouse)
    warehouse.dbt("run", "--select", "crypto_raw", "--full-refresh")
    for model in ("crypto_stage", "crypto_quarantine"):
        with pytest.raises(DbtError, match=f"build silver with --full-refresh.* {model} has processed"):
            warehouse.dbt("run", "--select", model)
    warehouse.execute(
        "create or replace view lake_silver.crypto_stage_taken as select '1970-01-01 00:00:00' as taken_until"
    )
    with pytest.raises(DbtError, match="build silver with --full-refresh"):
        warehouse.dbt("run", "--select", "crypto_stage")  # a refresh of silver died too, before it replaced the table
    warehouse.dbt("run", "--select", "path:models/silver", "--full-refresh")
    warehouse.load()
    assert content(warehouse) == before


@pytest.mark.parametrize("table", ["crypto_stage", "crypto_quarantine"])
def test_a_table_whose_rebuild_died_is_completed(
    warehouse: Warehouse, store: S3Store, today: datetime, table: str
) -> None:
    """On Athena a rebuild that dies may leave a part of the table, which must not count as the whole."""
    topic = LandedTopic()
    land_an_hour(topic, store, today, 3)
    warehouse.load()
    before = content(warehouse)
    warehouse.execute(
        "alter view lake_silver.crypto_checked rename to whole;"
        "create view lake_silver.crypto_checked as select * replace "
        "(case when kafka_offset >= 0 then error('dies while it reads') end as record_id) from lake_silver.whole"
    )
    with pytest.raises(DbtError, match="dies while it reads"):
        warehouse.dbt("run", "--select", table, "--full-refresh")
    warehouse.execute(f"delete from lake_silver.{table} where hash(record_id) % 2 = 0")
    warehouse.load()
    assert content(warehouse) == before
