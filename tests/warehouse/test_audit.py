"""The audit's queries: each row that is lost between two layers is named, and `where` finds a record's layers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.audit import accounting
from include.audit.bucket import AuditBucket
from include.audit.layers import LayerCounts, LayerReport
from include.audit.manifest import FIRST, VERSION, DataObject, DeadLetterObject, Manifest
from include.audit.queries import Placed, QuotePlace, Row
from include.settings import StorageSettings
from include.transform import inline_query
from tests.warehouse.landed_topic import open_bucket
from tests.warehouse.warehouse import Warehouse

pytestmark = pytest.mark.servers


class AuditedDay:
    """A copy of the built warehouse, with the manifest of yesterday and the audit's queries."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.storage = StorageSettings(bucket=warehouse.bucket)
        self.day = (datetime.now(UTC) - timedelta(days=1)).date()
        bucket = AuditBucket(open_bucket(warehouse.bucket, warehouse.endpoint), self.storage)
        entries = [reading.entry for reading in bucket.read(bucket.listed(self.day)[0], None)]
        data = tuple(item for item in entries if isinstance(item, DataObject))
        letters = tuple(item for item in entries if isinstance(item, DeadLetterObject))
        sums = accounting.add_up(data, letters, {}, {})
        self.manifest = Manifest(
            VERSION, self.day.isoformat(), "t", "id", "crypto_data/", "dead_letter/", datetime.now(UTC), FIRST,
            sums.partitions, data, letters, sums.rejects, sums.gaps, None,
        )  # fmt: skip

    def query(self, macro: str, kind: type[Row], /) -> list[Row]:
        """As include/transform/inline_query.py asks."""
        shown = self.warehouse.invoke("show", "--output", "json", "--limit", "-1", "--inline", "{{ " + macro + " }}")
        return inline_query.of_table(shown.results[0].agate_table, kind)

    def report(self) -> LayerReport:
        return LayerCounts(self.query, self.storage)(self.manifest)

    def findings(self) -> str:
        return "\n".join(finding.line() for finding in self.report().findings)

    def record_of(self, table: str) -> tuple[int, int, str]:
        """Partition, offset and file of a record of the day that silver accepted or refused."""
        [row] = self.warehouse.query(
            f"select b.kafka_partition, b.kafka_offset, b.source_file from lake_bronze.crypto_raw as b "
            f"join lake_silver.{table} as s using (record_id) "
            f"where b.source_file like '%/{self.day:%Y/%m/%d}/%' order by b.kafka_offset desc limit 1"
        )
        return row[0], row[1], row[2].removeprefix(f"s3://{self.warehouse.bucket}/")


@pytest.fixture
def audited(built_warehouse: Callable[[Path], Warehouse], tmp_path: Path) -> AuditedDay:
    return AuditedDay(built_warehouse(tmp_path / "copy"))


def test_a_days_rows_add_up_over_the_layers(audited: AuditedDay) -> None:
    report = audited.report()
    assert report.findings == ()
    totals, records = report.totals, sum(part.records for part in audited.manifest.partitions)
    assert records > 1000
    assert (totals.bronze, totals.silver + totals.quarantine, totals.not_built) == (records, records, 0)
    assert totals.gold > 1000


def test_a_line_that_bronze_lost_is_named(audited: AuditedDay) -> None:
    partition, offset, key = audited.record_of("crypto_stage")
    place = f"where kafka_partition = {partition} and kafka_offset = {offset}"
    audited.warehouse.execute(f"delete from lake_bronze.crypto_raw {place}")
    assert f"lost: {key} partition {partition}, offset {offset}: bronze does not have" in audited.findings()


def test_a_row_that_silver_lost_is_named(audited: AuditedDay) -> None:
    partition, offset, key = audited.record_of("crypto_stage")
    place = f"where kafka_partition = {partition} and kafka_offset = {offset}"
    audited.warehouse.execute(f"delete from lake_silver.crypto_stage {place}")
    found = audited.findings()
    assert f"lost: {key} partition {partition}, offset {offset}: the record of bronze is 0 times in silver" in found
    assert "gold counts" in found


def test_a_lost_row_of_dead_letters_is_named(audited: AuditedDay) -> None:
    day = f"{audited.day:%Y/%m/%d}"
    [(partition, offset)] = audited.warehouse.query(
        "select kafka_partition, kafka_offset from lake_bronze.crypto_dead_letter "
        f"where source_file like '%/{day}/%' order by 1, 2 limit 1"
    )
    place = f"where kafka_partition = {partition} and kafka_offset = {offset}"
    audited.warehouse.execute(f"delete from lake_bronze.crypto_dead_letter {place}")
    assert "crypto_dead_letter has" in audited.findings()


def test_the_layers_of_a_record_are_found(audited: AuditedDay) -> None:
    partition, offset, key = audited.record_of("crypto_stage")
    rows = {row.layer: row.found for row in audited.query(f"audit_record({partition}, {offset})", Placed)}
    assert rows.keys() == {"bronze", "silver", "gold"}
    assert rows["bronze"].endswith(key)
    partition, offset, _ = audited.record_of("crypto_quarantine")
    rows = {row.layer: row.found for row in audited.query(f"audit_record({partition}, {offset})", Placed)}
    assert rows.keys() == {"bronze", "quarantine"}


def test_a_coin_and_a_time_give_the_records_place(audited: AuditedDay) -> None:
    partition, offset, _ = audited.record_of("crypto_stage")
    [(symbol, second)] = audited.warehouse.query(
        "select symbol, strftime(date_trunc('second', last_updated), '%Y-%m-%d %H:%M:%S') "
        f"from lake_silver.crypto_stage where kafka_partition = {partition} and kafka_offset = {offset}"
    )
    rows = audited.query(f"audit_quotes('{symbol}', '{second}')", QuotePlace)
    assert (partition, offset) in {(row.part, row.kafka_offset) for row in rows}
