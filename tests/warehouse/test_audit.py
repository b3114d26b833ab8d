"""The audit's queries: each row that is lost between two layers is named, and `where` finds a record's layers.

tests/athena/test_conformance.py asks the same on Athena's engine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from include.audit.queries import Placed, QuotePlace
from tests.warehouse.audited_day import AuditedDay
from tests.warehouse.warehouse import Warehouse

pytestmark = pytest.mark.servers


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
    symbol, second = audited.quote_at(partition, offset, "crypto_stage")
    rows = audited.query(f"audit_quotes('{symbol}', '{second:%Y-%m-%d %H:%M:%S}')", QuotePlace)
    assert (partition, offset) in {(row.part, row.kafka_offset) for row in rows}
