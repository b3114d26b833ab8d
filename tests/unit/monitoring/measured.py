"""Measurements of a pipeline without a fault, for tests that change one of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import UNSET
from msgspec.structs import replace

from include.catalogue import CONSUMER_METRICS, STAGES, Layer
from include.monitoring.checks.arrivals import Span
from include.monitoring.checks.coins import CoinArrival
from include.monitoring.checks.lag import Lag, Status
from include.monitoring.checks.latency import LatencyMeasurement, objectives
from include.monitoring.checks.measurements import (
    ArrivalsMeasurement,
    ConsumerMeasurement,
    DagsMeasurement,
    KafkaMeasurement,
    LayersMeasurement,
    Measurements,
)
from include.settings import ObjectiveSettings
from include.state.audited import Audited
from include.state.dbt_tests import DbtTests
from include.state.latency import BuildLatency, Count, StageLatency
from include.state.layer_state import DagRunRef, LayerState, QuarantineCount
from include.state.record_fields import RecordFields

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RUN = DagRunRef("d", "r", "http://airflow.test/r")


def built(layer: Layer, scanned: dict[str, int]) -> LayerState:
    """The state of a layer whose tests passed."""
    quarantine = QuarantineCount(accepted=1_000, refused=2) if layer == "silver" else UNSET
    fields = RecordFields(NOW, 7, (), {}) if layer == "bronze" else UNSET
    tests = DbtTests(9, 0, 0, ())
    return LayerState(layer, "model", 7, NOW, NOW, tests, RUN, scanned, quarantine, record_fields=fields)


KAFKA = KafkaMeasurement(
    lag=Lag(total=12, worst=7, seconds=30.0, headroom_seconds=86_000.0, statuses={0: Status.OK}, lost=0),
    members=1,
    group_state="stable",
    retention_seconds=86_400.0,
    committed={0: 300},
    window_fault="",
)
OBJECTS = ArrivalsMeasurement(
    objects=3,
    bytes=900,
    dead_letter_objects=0,
    spans={0: Span(3, 0, 200)},
    listed=4,
    listed_from=NOW,
    measured_at=NOW,
    newest_at=NOW - timedelta(minutes=1),
    coins={"BTC": CoinArrival(True, NOW - timedelta(minutes=1), 60.0, 240.0, 60.0)},
)
LAYERS = LayersMeasurement(
    states={
        "bronze": built("bronze", {"crypto_raw": 5, "crypto_dead_letter": 2}),
        "silver": built("silver", {}),
        "gold": None,
    },
    other_tests=[],
    ages={"bronze": 10.0, "silver": 20.0, "gold": None},
    undelivered=0,
    undelivered_error="",
    audit=Audited(NOW, "2026-11-24", "0" * 64, ["2026-11-24"], 0, []),
)
RECENT = BuildLatency(NOW, ((30, 95), (70, 5)))
STAGE = StageLatency(counts=(Count(NOW, 1_000, 0),), builds=(RECENT,))
LAYERS = replace(
    LAYERS,
    latency=LatencyMeasurement(
        objectives({"landed": STAGE, "gold": STAGE}, ObjectiveSettings(), NOW), {stage: [RECENT] for stage in STAGES}
    ),
)
CONSUMER = ConsumerMeasurement(
    windows={metric.name: [5.0, 5.0, 5.0] for metric in CONSUMER_METRICS}, watched=3, alarms={}, baseline=None
)
DAGS = DagsMeasurement({"crypto_transform": [], "lakehouse_maintenance": []}, "")
EVERYTHING = Measurements(KAFKA, OBJECTS, LAYERS, CONSUMER, DAGS)
