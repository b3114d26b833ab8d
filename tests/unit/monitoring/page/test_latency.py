from __future__ import annotations

from dataclasses import replace

from msgspec import UNSET
from msgspec.structs import replace as replaced

from include.monitoring.page import latency
from include.settings import ObjectiveSettings
from tests.unit.monitoring.page.states import health


def test_each_measured_stage_has_a_row_in_the_order_of_the_way() -> None:
    rows = latency.rows(health())
    assert [row.stage for row in rows] == ["bronze", "silver", "gold"]
    assert [row.objective for row in rows] == ["", "", "95 % within 20 min"]
    assert not any(row.late for row in rows)
    assert rows[0].hours == "p95 of each hour since 30 Nov 05:00 UTC: 90 s to 90 s"


def test_a_build_that_misses_the_objective_is_late() -> None:
    strict = ObjectiveSettings.model_construct(gold_minutes=1.0)
    assert latency.rows(replace(health(), objective=strict))[-1].late


def test_a_layer_that_measured_nothing_has_no_row() -> None:
    seen = health()
    states = [replaced(layer.state, latency=UNSET) for layer in seen.layers if layer.state]
    layers = tuple(replace(layer, state=state) for layer, state in zip(seen.layers, states, strict=True))
    assert latency.rows(replace(seen, layers=layers)) == ()
