"""Fields beyond the contract, for tests that run on both engines."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from tests.warehouse.warehouse import Warehouse

ODD = {"a'b\"": 1, "x y": None, "nested": {"k": [1, 2]}, "tags": ["a"], "flag": False, "volume_24h": 1.5, "ü": "é"}
"""A field of each JSON type, some with names that SQL must quote."""

SENT: dict[str, list[tuple[Any, Any]]] = {
    "double": [(1.5, 1.5), (2, 2.0), (-3e5, -3e5), ("4.5", 4.5), ("x", None), (True, None), (None, None), ([1], None)],
    "varchar": [("a", "a"), ("", ""), ("é'\"", "é'\""), (5, "5"), (None, None), ({"a": 1}, None), ([1], None)],
    "boolean": [(True, True), (False, False), ("x", None), (1, None), (None, None)],
    "bigint": [(7, 7), (2**62, 2**62), ("8", 8), (-1, -1), (1.5, None), ("x", None), (None, None), (10**30, None)],
    "decimal(18,8)": [(0.00000001, "0.00000001"), (12, "12.00000000"), ("x", None), (None, None)],
    "timestamp": [("2026-11-23T20:15:07.5+01:00", "2026-11-23T19:15:07.500"), ("yesterday", None), (7, None)],
}
"""SQL type of a promoted field -> values in the message, and those of the column. Decimals and times are as text."""


def column_of(warehouse: Warehouse, kind: str) -> list[Any]:
    """What silver reads in the records of `SENT`, on the engine of the warehouse."""
    [compiled] = warehouse.invoke("compile", "--inline", "{{ promoted_value('extra', '" + kind + "') }}")
    texts = [json.dumps({"extra": sent}, ensure_ascii=False).replace("'", "''") for sent, _ in SENT[kind]]
    values = ", ".join(f"({n}, '{text}')" for n, text in enumerate(texts))
    sql = f"select {compiled.node.compiled_code} from (values {values}) as sent (n, record) order by n"
    return [_comparable(kind, value) for (value,) in warehouse.query(sql)]


def _comparable(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "timestamp":
        at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return at.isoformat(timespec="milliseconds")
    return f"{float(value):.8f}" if kind.startswith("decimal") else value


def looked_at(warehouse: Warehouse, *arguments: str, since: str = "") -> dict[str, Any]:
    """The look of the macro `record_fields`, as the layer count of bronze returns it."""
    inline = "{{ layer_count('crypto_raw'" + (f", looked_until='{since}'" if since else "") + ") }}"
    shown = warehouse.invoke("show", "--output", "json", "--inline", inline, *arguments)
    table = shown.results[0].agate_table
    looked: dict[str, Any] = json.loads(dict(zip(table.column_names, table.rows[0], strict=True))["record_fields"])
    return looked
