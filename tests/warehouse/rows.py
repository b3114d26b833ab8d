"""Rows that several modules of warehouse tests send and read."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.warehouse.landed_topic import LandedTopic, quote
from tests.warehouse.warehouse import Warehouse

CONTENT = "select {columns} from {table} order by all"
TABLES = {
    "lake_bronze.crypto_raw": "* exclude (loaded_at)",
    "lake_bronze.crypto_dead_letter": "* exclude (loaded_at)",
    "lake_silver.crypto_stage": "* exclude (loaded_at)",
    "lake_silver.crypto_quarantine": "* exclude (loaded_at)",
    "lake_gold.crypto_curated": "* exclude (loaded_at)",
}


def content(warehouse: Warehouse) -> dict[str, list[tuple[object, ...]]]:
    """The rows of every table without the time of loading."""
    return {table: warehouse.query(CONTENT.format(columns=columns, table=table)) for table, columns in TABLES.items()}


def loaded_offsets(warehouse: Warehouse, partition: int) -> list[int]:
    """Bronze's offsets of a partition."""
    rows = warehouse.query(
        f"select kafka_offset from lake_bronze.crypto_raw where kafka_partition = {partition} order by 1"
    )
    return [offset for (offset,) in rows]


def quotes(topic: LandedTopic, symbol: str, start: datetime, count: int, step: timedelta) -> None:
    for n in range(count):
        at = start + n * step
        topic.send(quote(symbol, 2.0 + n / 1000 if symbol == "XRP" else 3000.0 + n, at), at)
