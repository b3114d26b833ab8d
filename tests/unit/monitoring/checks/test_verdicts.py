"""A tick put together: what is published, what is said, and that unknown is never zero."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.catalogue import CONDITIONS, CONSUMER_METRICS, METRICS, Layer
from include.instants import to_text
from include.monitoring.alerts import transitions as alert_rules
from include.monitoring.alerts.model import AlertState, OpenAlert
from include.monitoring.checks import verdicts as tick
from include.monitoring.checks.judge import Verdict
from include.monitoring.checks.thresholds import in_force
from include.monitoring.checks.verdicts import Tick
from include.state.layer_state import LayerState, LayerTests, Run

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KAFKA: dict[str, Any] = {
    "total": 12,
    "worst": 7,
    "seconds": 30.0,
    "headroom_seconds": 86_000.0,
    "retention_seconds": 86_400.0,
    "stalled": {},
    "statuses": {"0": "OK"},
    "lost": 0,
    "members": 1,
    "group_state": "stable",
    "committed": {"0": 300},
    "window_fault": "",
}
OBJECTS: dict[str, Any] = {"objects": 3, "bytes": 900, "dead_letter_objects": 0, "spans": {"0": [3, 0, 200]}}


def built(layer: Layer, scanned: dict[str, int]) -> dict[str, Any]:
    """The state of a layer whose tests passed."""
    return LayerState(layer, "model", 7, NOW, NOW, LayerTests(9), Run("d", "r", "http://a"), scanned).to_json()


LAYERS: dict[str, Any] = {
    "states": {
        "bronze": built("bronze", {"crypto_raw": 5, "crypto_dead_letter": 2}),
        "silver": built("silver", {}),
        "gold": None,
    },
    "other_tests": [],
    "ages": {"bronze": 10.0, "silver": 20.0, "gold": None},
    "undelivered": 0,
    "undelivered_error": "",
}
CONSUMER: dict[str, Any] = {
    "windows": {metric.name: [5.0, 5.0, 5.0] for metric in CONSUMER_METRICS},
    "watched": 3,
    "alarms": {},
    "baseline": None,
}
EVERYTHING: dict[str, dict[str, Any] | None] = {
    "kafka": KAFKA,
    "objects": OBJECTS,
    "layers": LAYERS,
    "consumer": CONSUMER,
}


def judged(measured: dict[str, dict[str, Any] | None], **blind: str) -> dict[str, Verdict]:
    limits, _ = in_force(None)
    return {found.condition: found for found in tick.verdicts(Tick(measured, blind), limits)}


def test_a_full_tick_publishes_every_metric_of_the_monitor() -> None:
    found = tick.data(Tick(EVERYTHING))
    assert {one.metric for one in found} == {one.name for one in METRICS.values() if one.publisher == "monitor"}
    assert {one.metric: one.value for one in found}["BatchSizeLastHour"] == 100
    assert [one.layer for one in found if one.metric == "DataAge"] == ["bronze", "silver"]  # gold's is not known
    assert [(one.layer, one.value) for one in found if one.metric == "BytesScanned"] == [("bronze", 7)]


def test_without_any_source_only_heartbeat_and_blindness_are_published() -> None:
    nothing: dict[str, dict[str, Any] | None] = dict.fromkeys(EVERYTHING)
    found = tick.data(Tick(nothing, dict.fromkeys(EVERYTHING, "away")))
    assert {one.metric: one.value for one in found} == {"MonitorHeartbeat": 1, "BlindSources": 4}
    outcomes = judged(nothing, **dict.fromkeys(EVERYTHING, "away"))
    assert outcomes.pop("monitor_blind").outcome == "breached"
    assert {one.outcome for one in outcomes.values()} == {"unknown"}


@pytest.mark.parametrize("source", EVERYTHING)
def test_one_blind_source_leaves_the_other_checks_alone(source: str) -> None:
    found = judged(EVERYTHING | {source: None}, **{source: "away"})
    unknown = {name for name, one in found.items() if "could not be read" in one.value}
    assert unknown
    assert all(tick.SOURCE_NAMES[source] in found[name].value for name in unknown)
    assert found["monitor_blind"].subjects == {tick.SOURCE_NAMES[source]: "away"}


def test_unknown_numbers_of_a_source_that_was_read_are_not_published() -> None:
    half = KAFKA | {"seconds": None, "headroom_seconds": None}
    metrics = {one.metric for one in tick.data(Tick(EVERYTHING | {"kafka": half}))}
    assert not metrics & {"EstimatedMaxTimeLag", "RetentionHeadroom"}
    assert judged(EVERYTHING | {"kafka": half})["retention_headroom"].outcome == "unknown"
    unlimited = half | {"retention_seconds": None}
    assert judged(EVERYTHING | {"kafka": unlimited})["retention_headroom"].outcome == "ok"


def test_a_learned_baseline_replaces_the_threshold_and_is_named() -> None:
    learned = CONSUMER | {"baseline": {"value": 50.0, "note": "50% of the usual 100 messages at this hour"}}
    found = judged(EVERYTHING | {"consumer": learned})["low_throughput"]
    assert found.outcome == "breached"
    assert found.threshold == "< 50 in 5 min, learned from the last days"
    learning = CONSUMER | {"baseline": {"value": None, "note": "learning: 1 of 3 days"}}
    found = judged(EVERYTHING | {"consumer": learning})["low_throughput"]
    assert found.outcome == "ok"
    assert found.details == ("learning: 1 of 3 days",)


def test_what_the_monitor_did_not_watch_says_nothing_about_the_consumer() -> None:
    fresh = CONSUMER | {"watched": 2, "windows": CONSUMER["windows"] | {"MessagesConsumed": [None, None, None]}}
    found = judged(EVERYTHING | {"consumer": fresh})["low_throughput"]
    assert (found.outcome, found.value) == ("unknown", "the monitor has watched for 2 of 3 periods")


def test_every_checked_condition_has_a_verdict() -> None:
    assert list(judged(EVERYTHING)) == [one.name for one in CONDITIONS.values() if one.checked]


def failing(name: str, severity: str = "error") -> dict[str, Any]:
    return {"name": name, "severity": severity, "failures": 2, "message": "Got 2 results", "since": None, "rows": ""}


def other(task: str, *tests: dict[str, Any], at: datetime = NOW) -> dict[str, Any]:
    return {"task": task, "finished_at": to_text(at), "tests": {"failing": list(tests)}}


@pytest.mark.parametrize(
    ("task", "severity"),
    [
        ("crypto_transform.cross_layer_tests", "error"),
        ("crypto_transform.reference.assets_seed", "warn"),
        ("lakehouse_maintenance.test_all_rows", "error"),
    ],
)
def test_a_test_outside_the_layers_is_counted(task: str, severity: str) -> None:
    everything = EVERYTHING | {"layers": LAYERS | {"other_tests": [other(task, failing("no_hole", severity))]}}
    assert {one.metric: one.value for one in tick.data(Tick(everything))}["FailingTests"] == 1
    found = judged(everything)["dbt_tests"]
    assert found.outcome == "breached"
    assert found.subjects == {"no_hole": f"{task} ({severity}), 2 failing rows: Got 2 results"}


def test_a_warning_about_an_old_row_does_not_alert_for_ever() -> None:
    old = LAYERS | {"other_tests": [other("lakehouse_maintenance.test_all_rows", failing("price", "warn"))]}
    assert judged(EVERYTHING | {"layers": old})["dbt_tests"].outcome == "ok"


def test_a_test_that_a_layer_and_the_daily_run_found_is_one() -> None:
    silver = {"finished_at": to_text(NOW), "tests": {"failing": [failing("price")]}}
    twice = [other("lakehouse_maintenance.test_all_rows", failing("price"), failing("older"))]
    layers = LAYERS | {"states": LAYERS["states"] | {"silver": silver}, "other_tests": twice}
    assert list(tick.failing_tests(layers)) == ["price", "older"]
    assert tick.failing_tests(layers)["price"].startswith("silver (error)")


@pytest.mark.parametrize("first", ["callback", "monitor"])
def test_a_failing_test_outside_the_layers_is_told_once_and_is_over_once(first: str) -> None:
    """Its task's failure callback and `check_dbt_tests` both see it; whoever is first tells."""
    task, left = "crypto_transform/cross_layer_tests", "crypto_transform.cross_layer_tests"
    reminder = timedelta(days=1)
    red = EVERYTHING | {"layers": LAYERS | {"other_tests": [other(left, failing("no_hole"))]}}
    later = NOW + timedelta(minutes=15)
    green = EVERYTHING | {"layers": LAYERS | {"other_tests": [other(left, at=later)]}}
    raised = OpenAlert("dbt_tests:no_hole", "dbt_tests", "error", "x", NOW, NOW, task=task, successes=7)
    state, told = AlertState(), []
    steps = ["callback", "monitor"] if first == "callback" else ["monitor", "callback"]
    for step in [*steps, "monitor", "callback", "monitor"]:
        if step == "callback":
            state, new = alert_rules.raised(state, [raised], NOW, reminder)
        else:
            state, new = alert_rules.advance(state, [judged(red)["dbt_tests"]], NOW, reminder)
        told += new
    assert [one.kind for one in told] == ["start"]
    verdict = judged(green)["dbt_tests"]
    state, new = alert_rules.advance(state, [verdict], later, reminder)
    told += new
    state, over = alert_rules.counted(state, {(task, ""): 8})
    state, new = alert_rules.ended(state, over, later)
    told += new
    state, new = alert_rules.advance(state, [verdict], later, reminder)
    assert [one.kind for one in [*told, *new]] == ["start", "recovery"]
    assert not state.open


def test_one_look_alone_finds_no_stall_and_says_so() -> None:
    alone = KAFKA | {"window_fault": "the lag window cannot be read: AccessDenied"}
    found = judged(EVERYTHING | {"kafka": alone})["consumer_stalled"]
    assert (found.outcome, "AccessDenied" in found.value) == ("unknown", True)
    assert "StalledPartitions" not in {one.metric for one in tick.data(Tick(EVERYTHING | {"kafka": alone}))}
    empty_group = alone | {"stalled": {"0": "STOP"}, "members": 0}
    assert judged(EVERYTHING | {"kafka": empty_group})["consumer_stalled"].outcome == "breached"
