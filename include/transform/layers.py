"""The three layers: their main models, their assets, and the state object of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from include.catalogue import Layer
from include.settings import StorageSettings
from include.state import layer_state, partial_build
from include.state.dbt_tests import NO_TESTS, DbtTests
from include.state.json_object import StateUnreadableError
from include.state.layer_state import DagRunRef, LayerState
from include.state.partial_build import PartialBuild
from include.state.record_fields import RecordFields
from include.transform import kpi_query, layer_query, schema_drift

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MODELS: dict[Layer, str] = {"bronze": "crypto_raw", "silver": "crypto_stage", "gold": "crypto_curated"}
"""Each layer's main model."""


def asset_uri(layer: Layer) -> str:
    """Name of the Airflow asset that a finished layer updates; the same on every target."""
    return f"crypto-lakehouse://{layer}/{MODELS[layer]}"


def record(
    s3: S3Client,
    storage: StorageSettings,
    layer: Layer,
    tests: Iterable[DbtTests],
    scanned: Iterable[Mapping[str, int]],
    run: DagRunRef,
) -> LayerState:
    """Count the layer, write its state to S3 and return it; of gold, write each coin's KPIs too.

    `tests` and `scanned` hold one element for each dbt task of the layer, as `test_results.keep` pushed it.

    Raises:
        InlineQueryError: the warehouse could not be queried (for example when the model was never built).
    """
    known = _record_fields(s3, storage, layer)
    size = layer_query.count(MODELS[layer], known.loaded_until if known else None)
    total_scanned: Counter[str] = Counter()
    for bytes_by_model in scanned:
        total_scanned.update(bytes_by_model)
    state = LayerState(
        layer=layer,
        model=MODELS[layer],
        rows=size.rows,
        newest_quote_at=size.newest_quote_at,
        finished_at=datetime.now(UTC),
        tests=sum(tests, NO_TESTS),
        run=run,
        scanned=dict(total_scanned),
        quarantine=size.quarantine or msgspec.UNSET,
        record_fields=(size.record_fields and schema_drift.advance(known, size.record_fields)) or msgspec.UNSET,
    )
    written = layer_state.write(s3, storage, state)
    if layer == "gold":
        kpi_query.record(s3, storage, run)
    return written


def _record_fields(s3: S3Client, storage: StorageSettings, layer: Layer) -> RecordFields | None:
    """The fields of bronze's records by its last state; None for another layer, and without a readable state."""
    if layer != "bronze":
        return None
    try:
        before = layer_state.read(s3, storage, layer)
    except StateUnreadableError:
        return None  # the new state replaces it
    return before.record_fields or None if before else None


def record_part(s3: S3Client, storage: StorageSettings, layer: Layer, ran: Mapping[str, bool], run: DagRunRef) -> None:
    """Write to S3 that `run` built only a part of the layer; `ran` says of each of its dbt tasks whether it ran."""
    done = sorted(_node(task_id) for task_id, has_run in ran.items() if has_run)
    missing = sorted(_node(task_id) for task_id, has_run in ran.items() if not has_run)
    partial_build.write(s3, storage, PartialBuild(layer, datetime.now(UTC), done, missing, run))


def _node(task_id: str) -> str:
    """The dbt node of a Cosmos task: crypto_raw of bronze.crypto_raw_model_build."""
    return task_id.rpartition(".")[2].removesuffix("_model_build")
