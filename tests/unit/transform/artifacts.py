"""dbt's two files about one invocation with three tests."""

from __future__ import annotations

from typing import Any

INVOCATION_ID = "0d0c9b1e-0000-4000-8000-000000000001"
RUN_RESULTS: dict[str, Any] = {
    "metadata": {"generated_at": "2026-11-23T14:30:00.123456Z", "invocation_id": INVOCATION_ID},
    "results": [
        {
            "unique_id": "model.lake.crypto_raw",
            "status": "success",
            "execution_time": 1.0,
            "adapter_response": {"_message": "OK 7", "data_scanned_in_bytes": 1000},
        },
        {
            "unique_id": "test.lake.not_null_crypto_raw_id.abc",
            "status": "pass",
            "failures": 0,
            "execution_time": 0.1234,
            "adapter_response": {"data_scanned_in_bytes": 200},
        },
        {
            "unique_id": "test.lake.price_in_range_crypto_raw.def",
            "status": "warn",
            "failures": 3,
            "message": "Got 3 results",
            "execution_time": 0.2,
            "adapter_response": {"_message": "OK"},
        },
        {
            "unique_id": "test.lake.assert_nothing_is_lost",
            "status": "skipped",
            "failures": None,
            "message": None,
            "adapter_response": {"data_scanned_in_bytes": 30},
        },
    ],
}
MANIFEST: dict[str, Any] = {
    "groups": {"group.lake.ingestion": {"name": "ingestion", "owner": {"name": "Ingestion"}}},
    "nodes": {
        "model.lake.crypto_raw": {"name": "crypto_raw", "path": "bronze/crypto_raw.sql", "group": "ingestion"},
        "model.lake.crypto_stage": {"name": "crypto_stage", "path": "silver/crypto_stage.sql"},
        "test.lake.not_null_crypto_raw_id.abc": {
            "resource_type": "test",
            "attached_node": "model.lake.crypto_raw",
            "config": {"severity": "ERROR"},
        },
        "test.lake.price_in_range_crypto_raw.def": {
            "attached_node": "model.lake.crypto_raw",
            "config": {"severity": "warn", "store_failures": True},
            "relation_name": '"lake"."test_failures"."price_in_range"',
        },
        "test.lake.assert_nothing_is_lost": {
            "resource_type": "test",
            "attached_node": None,
            "depends_on": {"nodes": ["model.lake.crypto_raw", "model.lake.crypto_stage"]},
            "config": {"severity": "ERROR"},
        },
    },
}
