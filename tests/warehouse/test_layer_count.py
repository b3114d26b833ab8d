"""The counts of a layer that its state gets after a build."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from obstore.store import S3Store

from tests.warehouse.landed_topic import LandedTopic, quote
from tests.warehouse.warehouse import Warehouse


def counts(warehouse: Warehouse, model: str) -> dict[str, Any]:
    """The numbers of the macro `layer_count`, as include/transform/layer_query.py reads them."""
    shown = warehouse.invoke("show", "--output", "json", "--inline", "{{ layer_count('" + model + "') }}")
    table = shown.results[0].agate_table
    row = dict(zip(table.column_names, table.rows[0], strict=True))
    numbers = ("row_count", "newest_quote_ms", "accepted_rows", "quarantined_rows")
    by_rule = (row["quarantined_by_rule"] or "").splitlines()
    return {name: None if row[name] is None else int(row[name]) for name in numbers} | {"by_rule": by_rule}


def test_silver_counts_refused_rows_without_duplicates(warehouse: Warehouse, store: S3Store, today: datetime) -> None:
    topic, newest = LandedTopic(), today - timedelta(minutes=1)
    for price, at in ((3000.0, newest), (3000.0, newest), (1e9, today - timedelta(minutes=2)), (3001.0, today)):
        topic.send(quote("ETH", price, at), today)
    topic.land(store)
    warehouse.load()
    newest_ms = int(today.timestamp() * 1000)
    counted = counts(warehouse, "crypto_stage")
    (line,) = counted.pop("by_rule")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d price_out_of_bounds 1", line), line
    assert counted == {
        "row_count": 2, "newest_quote_ms": newest_ms, "accepted_rows": 2, "quarantined_rows": 1,
    }  # fmt: skip
    assert counts(warehouse, "crypto_raw")["accepted_rows"] is None
    for table in ("crypto_stage", "crypto_quarantine"):  # rows of earlier days do not count
        warehouse.execute(f"update lake_silver.{table} set loaded_at = loaded_at - interval 2 day")
    assert counts(warehouse, "crypto_stage")["accepted_rows"] == 0
    assert counts(warehouse, "crypto_stage")["quarantined_rows"] == 0
    assert len(counts(warehouse, "crypto_stage")["by_rule"]) == 1, "these are the rows of a week"
    warehouse.execute("drop table lake_silver.crypto_quarantine")  # a run that built only crypto_stage
    assert counts(warehouse, "crypto_stage")["quarantined_rows"] is None
