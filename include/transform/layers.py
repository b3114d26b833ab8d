"""The three layers: their main models, their assets, and the state object of each."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from include.catalogue import Layer
from include.settings import ObjectiveSettings, StorageSettings, load_group
from include.state import latency as latency_state
from include.state import layer_state, partial_build
from include.state.dbt_tests import NO_TESTS, DbtTests
from include.state.json_object import StateUnreadableError
from include.state.latency import LayerLatency, RecentLatency
from include.state.layer_state import DagRunRef, LayerState
from include.state.partial_build import PartialBuild
from include.state.record_fields import RecordFields
from include.transform import kpi_query, latency, layer_query, schema_drift
from include.transform.layer_query import Arrivals

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

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
    """Count the layer, measure its new records' latency, write its state to S3 and return it.

    The build of gold writes each coin's KPIs too.

    `tests` and `scanned` hold one element for each dbt task of the layer, as `test_results.keep` pushed it.

    Raises:
        InlineQueryError: the warehouse could not be queried (for example when the model was never built).
    """
    finished_at, memory = datetime.now(UTC), _memory(s3, storage, layer)
    fields = _record_fields(s3, storage, layer)
    size = layer_query.count(
        MODELS[layer],
        since=memory.since if memory else None,
        counts_from=memory.counts_from if memory else None,
        looked_until=fields.loaded_until if fields else None,
    )
    measured = _measure_latency(s3, storage, layer, memory, size.arrivals, finished_at)
    total_scanned: Counter[str] = Counter()
    for bytes_by_model in scanned:
        total_scanned.update(bytes_by_model)
    state = LayerState(
        layer=layer,
        model=MODELS[layer],
        rows=size.rows,
        newest_quote_at=size.newest_quote_at,
        finished_at=finished_at,
        tests=sum(tests, NO_TESTS),
        run=run,
        scanned=dict(total_scanned),
        quarantine=size.quarantine or msgspec.UNSET,
        latency={stage: RecentLatency.of(known) for stage, known in measured.stages.items()},
        record_fields=(size.record_fields and schema_drift.advance(fields, size.record_fields)) or msgspec.UNSET,
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


def _memory(s3: S3Client, storage: StorageSettings, layer: Layer) -> LayerLatency | None:
    """The layer's latency so far; None if it begins now, also after its object broke."""
    try:
        return latency_state.read(s3, storage, layer)
    except StateUnreadableError as error:
        log.warning("the latency of %s begins again: %s", layer, error)
        return None


def _measure_latency(
    s3: S3Client,
    storage: StorageSettings,
    layer: Layer,
    memory: LayerLatency | None,
    arrivals: Arrivals,
    finished_at: datetime,
) -> LayerLatency:
    """Add the records of this build to the layer's latency. It is written first, so a retry counts no record twice."""
    if memory is None:
        measured = latency.begun(arrivals, finished_at)
    else:
        paths = latency.counting(memory, arrivals) if layer == "bronze" else ()
        landed = latency.landed_at(s3, storage, paths)
        objective = load_group(ObjectiveSettings)
        measured = latency.advanced(memory, layer, arrivals, landed, finished_at, objective)
    latency_state.write(s3, storage, layer, measured)
    return measured


def record_part(
    s3: S3Client, storage: StorageSettings, layer: Layer, built: Mapping[str, bool], run: DagRunRef
) -> None:
    """Write to S3 that `run` built only a part of the layer; `built` says of each of its models whether it did."""
    done = sorted(node for node, was_built in built.items() if was_built)
    missing = sorted(node for node, was_built in built.items() if not was_built)
    partial_build.write(s3, storage, PartialBuild(layer, datetime.now(UTC), done, missing, run))
