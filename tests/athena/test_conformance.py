"""The project on the unchanged dbt-athena adapter and a real Trino has the same values as on DuckDB.

The tests run in order: each continues where the test before it stopped.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import msgspec
import obstore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import S3Store

from include.audit.where import Where
from include.aws.cost import QUERIES
from include.settings import StorageSettings
from include.transform import companions, inline_query, kpi_query, run_results, test_history
from tests.athena.rig import AthenaWarehouse
from tests.warehouse.audited_day import AuditedDay
from tests.warehouse.extra_fields import ODD, SENT, column_of, looked_at
from tests.warehouse.landed_topic import ASSETS, LandedTopic, market_day, milliseconds, open_bucket, quote
from tests.warehouse.times_of_quotes import TIMES, Time
from tests.warehouse.warehouse import Warehouse, environment, reported

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(2400)]

TABLES = {
    "lake_reference.assets": "id",
    "lake_bronze.crypto_raw": "record_id",
    "lake_bronze.crypto_dead_letter": "record_id",
    "lake_silver.crypto_stage": "quote_id",
    "lake_silver.crypto_quarantine": "record_id",
    "lake_gold.crypto_curated": "quote_hour_id",
    "lake_gold.kpi_latest_price": "symbol",
    "lake_gold.kpi_daily": "symbol, quote_date",
    "lake_gold.kpi_correlation": "id, other_id",
    "lake_gold.kpi_data_quality": "received_date, verdict",
    "lake_monitoring.test_run": "invocation_id, node_id",
    "lake_monitoring.test_health": "node_id, dag_id",
}
LAGGING, LAGGING_RECORDS = 3, 20
RUN_TIME_COLUMNS = {"loaded_at"}
TODAY = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


@pytest.fixture(scope="module")
def topic() -> LandedTopic:
    return LandedTopic()


@pytest.fixture(scope="module")
def store(lake_bucket: str, aws_endpoint: str) -> S3Store:
    return open_bucket(lake_bucket, aws_endpoint)


@pytest.fixture(scope="module")
def lagging() -> list[tuple[str, bytes]]:
    """Files of a further partition of the topic, with records up to a week older than those of other partitions."""
    slow = LandedTopic()
    for n in range(LAGGING_RECORDS):
        at = TODAY - timedelta(days=7) + n * timedelta(hours=8)
        slow.send(quote("XRP", 2.0 + n / 1000, at), at, partition=LAGGING)
    return list(slow.files())


def exact(value: Any, kind: str) -> Any:
    """The same form for a Python value of DuckDB and a JSON value of Trino."""
    if value is None:
        return None
    if kind == "double":
        return float(value)
    if kind.startswith("decimal"):
        return Decimal(str(value))
    if kind.startswith("timestamp"):
        return value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return str(value) if isinstance(value, date) else value


def rows(warehouse: Warehouse, table: str, columns: dict[str, str], order: str) -> list[tuple[Any, ...]]:
    """The rows of a table in a comparable form."""
    table_rows = warehouse.query(f"select {', '.join(columns)} from {table} order by {order}")
    return [tuple(exact(value, kind) for value, kind in zip(row, columns.values(), strict=True)) for row in table_rows]


def assert_same_content(athena: AthenaWarehouse, duckdb: Warehouse) -> None:
    """Every table has the same rows on both engines; doubles may differ by 1e-9."""
    for table in TABLES:
        assert_same_rows(athena, duckdb, table)


def assert_same_rows(athena: AthenaWarehouse, duckdb: Warehouse, table: str) -> list[tuple[Any, ...]]:
    """A table has the same rows on both engines; returns them."""
    columns = {name: kind for name, kind, *_ in athena.query(f"describe {table}") if name not in RUN_TIME_COLUMNS}
    if table == "lake_bronze.crypto_raw":
        columns["price"] = "double"  # text: the JSON readers spell numbers differently
    there, here = (rows(warehouse, table, columns, TABLES[table]) for warehouse in (athena, duckdb))
    assert len(there) == len(here), table
    for left, right in zip(there, here, strict=True):
        expected = tuple(pytest.approx(v, rel=1e-9) if isinstance(v, float) else v for v in right)
        assert left == expected, table
    return here


def build_both(athena: AthenaWarehouse, duckdb: Warehouse, *arguments: str) -> None:
    """Build and test on both engines; the results are the same. The next build reads them from the test history."""
    assert reported(athena.build(*arguments)) == reported(duckdb.build(*arguments))
    assert_same_content(athena, duckdb)
    for dag_id, warehouse in (("on_athena", athena), ("on_duckdb", duckdb)):
        storage = StorageSettings(bucket=warehouse.bucket)
        test_history.write(
            boto3.client("s3", endpoint_url=warehouse.endpoint), storage, warehouse.test_runs(dag_id, "run")
        )


def verdicts(topic: LandedTopic) -> Counter[str]:
    """Number of messages for each expected verdict, computed from the messages alone."""
    known: set[tuple[str, str]] = set()
    counts: Counter[str] = Counter()
    for partition in topic.log.values():
        for message in partition:
            if message.error is not None:
                counts["dead letter"] += 1
                continue
            sent = json.loads(message.payload)
            known_as = (sent["symbol"], sent["last_updated"])
            if sent["symbol"] not in ASSETS:
                counts["unknown_asset"] += 1
            elif sent["price"] > 1000 * ASSETS[sent["symbol"]][2]:
                counts["price_out_of_bounds"] += 1
            else:
                counts["duplicate" if known_as in known else "accepted"] += 1
                known.add(known_as)
    return counts


def landed_files_opened(athena: AthenaWarehouse, earlier_queries: int) -> list[int]:
    """Number of landed files that each later run of bronze opened, without those that data tests opened."""
    queries = list(athena.athena_api.queries.values())[earlier_queries:]
    reads = [query for query in queries if '"crypto_raw_data"' in query.sql and "should_error" not in query.sql]
    return [query.outcome.answer.splits for query in reads if query.outcome]


def test_a_first_build_gives_the_same_everywhere(
    athena_warehouse: AthenaWarehouse,
    duckdb_warehouse: Warehouse,
    topic: LandedTopic,
    store: S3Store,
    lagging: list[tuple[str, bytes]],
) -> None:
    market_day(topic, TODAY - timedelta(hours=30), hours=29.5, interval=timedelta(minutes=2))
    topic.land(store)
    obstore.put(store, *lagging[0])
    build_both(athena_warehouse, duckdb_warehouse)


def test_dbt_reports_the_scanned_bytes_of_each_model(
    athena_warehouse: AthenaWarehouse, duckdb_warehouse: Warehouse
) -> None:
    """The metric `BytesScanned` is their sum. This test reads the results of the first build."""
    scanned = run_results.read(athena_warehouse.artifacts.parent).scanned
    assert min(scanned[model] for model in ("crypto_raw", "crypto_stage", "crypto_curated")) > 0
    assert run_results.read(duckdb_warehouse.artifacts.parent).scanned == {}


def test_each_fault_of_the_day_has_the_same_verdict_on_both(
    athena_warehouse: AthenaWarehouse,
    duckdb_warehouse: Warehouse,
    topic: LandedTopic,
    lagging: list[tuple[str, bytes]],
) -> None:
    """The faults are duplicates, bad prices, unknown symbols, broken messages, late quotes, and a new field."""
    lagging_records = lagging[0][1].count(b'"_offset"')
    expected = verdicts(topic) + Counter(accepted=lagging_records)
    good = [(m, json.loads(m.payload)) for log in topic.log.values() for m in log if m.error is None]
    late = sum(milliseconds(datetime.fromisoformat(sent["last_updated"])) < m.timestamp_ms - 60_000 for m, sent in good)
    fields = Counter("with" if "volume_24h" in sent else "without" for _, sent in good) + Counter(
        without=lagging_records
    )
    assert (len(expected), len(fields)) == (5, 2)
    assert late > 0
    for warehouse in (athena_warehouse, duckdb_warehouse):
        by_verdict = warehouse.query(
            "select verdict, cast(sum(record_count) as bigint) from lake_gold.kpi_data_quality group by 1 union all "
            "select 'dead letter', count(*) from lake_bronze.crypto_dead_letter"
        )
        assert dict(by_verdict) == expected
        assert warehouse.query("select count(*) from lake_silver.crypto_stage where delay_seconds > 60") == [(late,)]
        [analysis] = warehouse.invoke("compile", "--select", "fields_of_the_records")
        assert {row[1]: row[4] for row in warehouse.query(analysis.node.compiled_code)} == fields


@pytest.fixture(scope="module")
def time_of_quote(athena_warehouse: AthenaWarehouse) -> str:
    """What silver computes from column `text`, on Athena."""
    [compiled] = athena_warehouse.invoke("compile", "--inline", "{{ timestamp_from_iso(trimmed('text')) }}")
    return f"cast(date_trunc('millisecond', {compiled.node.compiled_code}) as timestamp(3))"


@settings(max_examples=5)
@given(times=st.lists(TIMES, min_size=40, max_size=80))
def test_silver_reads_the_same_instant_as_the_consumer(
    athena_warehouse: AthenaWarehouse, time_of_quote: str, times: list[Time]
) -> None:
    """tests/warehouse/test_times.py compares DuckDB with the consumer."""
    accepted = {time.text: instant for time in times if (instant := time.as_accepted()) is not None}
    values = ", ".join(f"('{text}')" for text in accepted)
    sql = f"select text, cast({time_of_quote} as varchar) from (values {values}) as times (text)"
    rows = athena_warehouse.query(sql)
    assert {text: datetime.fromisoformat(read) for text, read in rows} == accepted


@pytest.mark.parametrize("kind", SENT)
def test_a_promoted_field_has_the_values_of_its_type(athena_warehouse: AthenaWarehouse, kind: str) -> None:
    """tests/warehouse/test_schema_drift.py does the same on DuckDB."""
    assert column_of(athena_warehouse, kind) == [read for _, read in SENT[kind]]


def test_both_engines_see_the_same_fields_in_the_records(
    athena_warehouse: AthenaWarehouse, duckdb_warehouse: Warehouse
) -> None:
    athena, duckdb = looked_at(athena_warehouse), looked_at(duckdb_warehouse)
    assert athena["known"] == duckdb["known"] == {}
    assert [entry[:3] for entry in athena["sets"]] == [entry[:3] for entry in duckdb["sets"]]
    assert [json.loads(entry[0])[-1] for entry in athena["sets"]] == ["string:symbol", "string:symbol"]
    texts = [json.dumps(ODD).replace("'", "''"), "[]", "no JSON"]
    members = []
    for warehouse in (athena_warehouse, duckdb_warehouse):
        [compiled] = warehouse.invoke("compile", "--inline", "{{ json_of_array(json_members('record', 9)) }}")
        values = ", ".join(f"({n}, '{text}')" for n, text in enumerate(texts))
        sql = f"select {compiled.node.compiled_code} from (values {values}) as odd (n, record) order by n"
        members.append([value and sorted(json.loads(value)) for (value,) in warehouse.query(sql)])
    odd = [[name, json.dumps(value, separators=(",", ":"), ensure_ascii=False)] for name, value in ODD.items()]
    assert members[0] == members[1] == [sorted(odd), None, None]


def by_minute(arrivals: str) -> set[tuple[str, int, int]]:
    """The objects' records by minute of arrival: six hours ago, where minutes begin, is not the same in two queries."""
    counts: Counter[tuple[str, int]] = Counter()
    for path, *times in (line.split(" ") for line in arrivals.splitlines()):
        for second, records in (time.split(":") for time in times):
            counts[path, int(second) // 60] += int(records)
    return {(path, minute, records) for (path, minute), records in counts.items()}


def refused(by_rule: str | None) -> list[str]:
    """Rule and rows of each line, without the day of the load."""
    return sorted(line.partition(" ")[2] for line in (by_rule or "").splitlines())


@pytest.mark.parametrize("model", ["crypto_raw", "crypto_stage", "crypto_curated"])
def test_both_engines_count_a_layer(athena_warehouse: AthenaWarehouse, duckdb_warehouse: Warehouse, model: str) -> None:
    macro = f"layer_count('{model}', since='1971-01-01 00:00:00', counts_from='1971-01-01 00:00:00')"
    shown = [
        warehouse.invoke("show", "--output", "json", "--inline", "{{ " + macro + " }}")
        for warehouse in (athena_warehouse, duckdb_warehouse)
    ]
    athena, duckdb = (dict(answer.results[0].agate_table.rows[0].dict()) for answer in shown)
    assert by_minute(athena.pop("arrivals")) == by_minute(duckdb.pop("arrivals")) != set()
    assert athena.pop("last_load")
    assert duckdb.pop("last_load")
    # The test before compares the fields: the loads have other times, and numbers other spellings.
    assert (athena.pop("record_fields") is None) == (duckdb.pop("record_fields") is None) == (model != "crypto_raw")
    assert refused(athena.pop("quarantined_by_rule")) == refused(duckdb.pop("quarantined_by_rule"))
    assert athena == duckdb
    assert athena["has_measured_load"] is False
    assert (athena["quarantined_rows"] is None) == (model != "crypto_stage")


def test_a_second_run_opens_only_the_new_files(
    athena_warehouse: AthenaWarehouse, duckdb_warehouse: Warehouse, topic: LandedTopic, store: S3Store
) -> None:
    market_day(topic, TODAY - timedelta(minutes=30), hours=0.5, interval=timedelta(seconds=30), seed=2)
    landed = [key for key in topic.land(store) if key.startswith("crypto_data/")]
    first = [query.sql for query in athena_warehouse.athena_api.queries.values()]
    unchanged = [name for table in companions.VIEWS for name in companions.of(table)]
    with environment({companions.VARIABLE: " ".join(unchanged)}):  # as the transform builds, after `--exclude`
        build_both(athena_warehouse, duckdb_warehouse, companions.REFERENCE_TESTS)
    assert landed_files_opened(athena_warehouse, len(first)) == [len(landed)]
    statements = [query.sql for query in list(athena_warehouse.athena_api.queries.values())[len(first) :]]
    assert nodes_of(first) >= set(unchanged)
    assert not nodes_of(statements) & set(unchanged)
    # The transform's tasks also count three layers and query the KPIs. The comparison of contents uses no API.
    assert 0.9 * QUERIES <= len(statements) + 4 <= QUERIES


def nodes_of(statements: list[str]) -> set[str]:
    """Models, seeds and snapshots that sent the statements, by dbt's comment in each."""
    return set(re.findall(r'"(?:model|seed|snapshot)\.crypto_lakehouse\.(\w+)"', " ".join(statements)))


def test_a_run_without_new_files_changes_nothing(
    athena_warehouse: AthenaWarehouse, duckdb_warehouse: Warehouse
) -> None:
    build_both(athena_warehouse, duckdb_warehouse)
    # The same holds when the known files are too many to name.
    athena_warehouse.dbt("run", "--select", "crypto_raw", "--vars", "landing_most_bytes: 0")
    assert_same_content(athena_warehouse, duckdb_warehouse)


def test_late_files_and_those_of_a_partition_that_lags_a_week_are_loaded(
    athena_warehouse: AthenaWarehouse,
    duckdb_warehouse: Warehouse,
    topic: LandedTopic,
    store: S3Store,
    lagging: list[tuple[str, bytes]],
) -> None:
    market_day(topic, TODAY, hours=0.5, interval=timedelta(seconds=10), seed=3)
    files = list(topic.files())
    for key, body in files[1:] + lagging[1:]:
        obstore.put(store, key, body)
    before = len(athena_warehouse.athena_api.queries)
    build_both(athena_warehouse, duckdb_warehouse)
    obstore.put(store, *files[0])
    build_both(athena_warehouse, duckdb_warehouse)
    data_files = sum(key.startswith("crypto_data/") for key, _ in files[1:] + lagging[1:])
    assert landed_files_opened(athena_warehouse, before) == [data_files, 1]
    assert athena_warehouse.query(
        "select kafka_partition, count(*), max(kafka_offset) + 1 from ("
        "select kafka_partition, kafka_offset from lake_bronze.crypto_raw union all "
        "select kafka_partition, kafka_offset from lake_bronze.crypto_dead_letter) group by 1 order by 1"
    ) == [(p, len(log), len(log)) for p, log in sorted(topic.log.items())] + [
        (LAGGING, LAGGING_RECORDS, LAGGING_RECORDS)
    ]


def test_the_audit_and_where_say_the_same_on_both_engines(
    athena_warehouse: AthenaWarehouse, duckdb_warehouse: Warehouse, store: S3Store
) -> None:
    athena, duckdb = AuditedDay(athena_warehouse), AuditedDay(duckdb_warehouse)
    report = duckdb.report()
    assert athena.report() == report
    assert report.findings == ()
    assert report.totals.gold > 100
    for table in ("crypto_stage", "crypto_quarantine"):
        partition, offset, key = duckdb.record_of(table)
        symbol, second = duckdb.quote_at(partition, offset, table)
        answers, places = [], []
        for day in (athena, duckdb):
            finder = Where(store, day.storage, None, day.query, 1 << 20)
            answers.append(finder.find(partition, offset).text(day.storage.bucket))
            places.append(finder.quotes(symbol, second))
        assert without_load_times(answers[0]) == without_load_times(answers[1])
        assert key in answers[0]
        assert places[0] == places[1]
        assert (partition, offset) in places[0]


def without_load_times(answer: str) -> str:
    """An answer of `where` without the time of bronze's load, which is another on each engine."""
    return re.sub(r"loaded \S+Z", "loaded", answer)


def test_the_audit_names_the_same_lost_rows_on_both_engines(
    athena_warehouse: AthenaWarehouse, duckdb_warehouse: Warehouse
) -> None:
    """The full refresh of the next test brings the rows back."""
    athena, duckdb = AuditedDay(athena_warehouse), AuditedDay(duckdb_warehouse)
    for table, layer in (("crypto_stage", "silver"), ("crypto_quarantine", "bronze")):
        partition, offset, _ = duckdb.record_of(table)
        model = "lake_silver.crypto_stage" if layer == "silver" else "lake_bronze.crypto_raw"
        lost = f"delete from {model} where kafka_partition = {partition} and kafka_offset = {offset}"
        athena_warehouse.query(lost)
        duckdb_warehouse.execute(lost)
    findings = duckdb.findings()
    assert athena.findings() == findings
    assert "0 times in silver" in findings
    assert "bronze does not have this record" in findings


def test_a_full_refresh_gives_the_same(athena_warehouse: AthenaWarehouse, duckdb_warehouse: Warehouse) -> None:
    build_both(athena_warehouse, duckdb_warehouse, "--full-refresh")


def test_the_snapshot_keeps_both_versions_of_a_changed_asset(athena_warehouse: AthenaWarehouse) -> None:
    location = f"s3://{athena_warehouse.bucket}/warehouse/changed_assets_"
    renamed = "if(id = 1, 'Bitcoin (BTC)', name) as name"
    columns = [name for name, *_ in athena_warehouse.query("describe lake_reference.assets")]
    changed_columns = ", ".join(renamed if name == "name" else name for name in columns)
    for change in (
        f"create table hive.lake_reference.changed with (external_location = '{location}once/') as "
        f"select {changed_columns} from lake_reference.assets",
        "drop table lake_reference.assets",
        f"create table hive.lake_reference.assets with (external_location = '{location}again/') as "
        "select * from hive.lake_reference.changed",
    ):
        athena_warehouse.query(change)
    athena_warehouse.dbt("snapshot")
    assert athena_warehouse.query(
        "select name, dbt_valid_to is null from lake_reference.assets_history where id = 1 order by 2"
    ) == [("Bitcoin", False), ("Bitcoin (BTC)", True)]


def test_freshness_is_measured_on_the_built_layers(athena_warehouse: AthenaWarehouse) -> None:
    results = athena_warehouse.invoke(
        "source", "freshness", "--select", "source:bronze", "source:silver", "source:gold"
    )
    assert {node.node.name: str(node.status) for node in results} == {
        "crypto_raw": "pass",
        "crypto_stage": "pass",
        "crypto_curated": "pass",
    }


def test_the_docs_have_every_table_and_describe_each_column(athena_warehouse: AthenaWarehouse) -> None:
    undescribed = athena_warehouse.undescribed_columns()
    landed = {"crypto_raw_data", "dead_letter_data", "test_history_data"}
    assert {table.split(".")[1] for table in TABLES} | landed <= {node_id.split(".")[-1] for node_id in undescribed}
    assert {node_id: columns for node_id, columns in undescribed.items() if columns} == {}


def test_maintenance_packs_small_files_and_loses_no_row(
    athena_warehouse: AthenaWarehouse, duckdb_warehouse: Warehouse
) -> None:
    files = 'select count(*) from lake_silver."crypto_stage$files"'
    newest = "(select max(last_updated) from lake_silver.crypto_stage)"
    for _ in range(2):  # each statement adds a small file to the newest day
        athena_warehouse.query(
            f"insert into lake_silver.crypto_stage select * from lake_silver.crypto_stage where last_updated = {newest}"
        )
    [(rows_before,)] = athena_warehouse.query("select count(*) from lake_silver.crypto_stage")
    [(before,)] = athena_warehouse.query(files)
    athena_warehouse.invoke("run-operation", "maintain")
    [(after,)] = athena_warehouse.query(files)
    [(rows_after,)] = athena_warehouse.query("select count(*) from lake_silver.crypto_stage")
    assert after < before
    assert rows_after == rows_before
    [(snapshots,)] = athena_warehouse.query('select count(*) from lake_silver."crypto_stage$snapshots"')
    assert snapshots == 1


HISTORY = TODAY - timedelta(days=34)
"""Start of the hours that the next test gives to gold: 32 days of two coins, with a gap of a day."""


def hours_of_a_month() -> str:
    """Their rows, as SQL that both engines read."""
    market, prices, values = random.Random(7), {1: 95_000.0, 1027: 3_200.0}, []
    for n in range(32 * 24):
        for coin, symbol in ((1, "BTC"), (1027, "ETH")):
            prices[coin] *= 1 + market.gauss(0, 0.004)
            if not (coin == 1027 and 100 <= n < 124):
                start, price = HISTORY.replace(tzinfo=None) + n * timedelta(hours=1), f"{prices[coin]:.8f}"
                quoted = f"timestamp '{start}', timestamp '{start + timedelta(minutes=59)}'"
                values.append(f"({coin}, '{symbol}', '{symbol}', {quoted}, {', '.join([price] * 5)}, 60)")
    columns = "id, symbol, name, hour_start, last_quote_at, open_price, high_price, low_price, close_price"
    return f"({columns}, average_price, quote_count) values {', '.join(values)}"


def test_both_engines_compute_the_same_kpis_of_a_month(
    athena_warehouse: AthenaWarehouse, duckdb_warehouse: Warehouse
) -> None:
    added = f"insert into lake_gold.crypto_curated {hours_of_a_month()}"
    athena_warehouse.query(added)
    duckdb_warehouse.execute(added)
    for view in ("kpi_latest_price", "kpi_daily", "kpi_correlation"):
        shown = assert_same_rows(athena_warehouse, duckdb_warehouse, f"lake_gold.{view}")
        assert any(None not in row for row in shown), view  # each KPI is known
    answers = [
        warehouse.invoke("show", "--output", "json", "--limit", "-1", "--inline", "{{ kpi_state() }}")
        for warehouse in (athena_warehouse, duckdb_warehouse)
    ]
    there, here = (
        kpi_query.coins(inline_query.of_table(answer.results[0].agate_table, kpi_query.Hour)) for answer in answers
    )
    assert [coin.symbol for coin in here] == ["BTC", "XRP", "ETH"]
    assert there[0].volatility_percent_7d is not None
    for left, right in zip(there, here, strict=True):
        assert msgspec.structs.asdict(left) == {
            name: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
            for name, value in msgspec.structs.asdict(right).items()
        }
