"""A day of a built warehouse as the audit sees it, for tests that run on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from include.audit import accounting
from include.audit.bucket import AuditBucket
from include.audit.layers import LayerCounts, LayerReport
from include.audit.manifest import FIRST, VERSION, DataObject, DeadLetterObject, Manifest
from include.audit.queries import Row
from include.settings import StorageSettings
from include.transform import inline_query
from tests.warehouse.landed_topic import open_bucket
from tests.warehouse.warehouse import Warehouse


class AuditedDay:
    """A built warehouse, with the manifest of yesterday and the audit's queries."""

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

    def quote_at(self, partition: int, offset: int, table: str) -> tuple[str, datetime]:
        """Coin and time, to the second, of a record's quote."""
        [(symbol, second)] = self.warehouse.query(
            "select symbol, cast(date_trunc('second', last_updated) as varchar) "
            f"from lake_silver.{table} where kafka_partition = {partition} and kafka_offset = {offset}"
        )
        return symbol, datetime.fromisoformat(second).replace(tzinfo=UTC)
