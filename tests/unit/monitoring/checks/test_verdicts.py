"""The published numbers and the verdicts of one run of the monitor; an unknown number is never zero."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from include.catalogue import CONDITIONS, MONITOR_METRICS
from include.monitoring.alerts import transitions
from include.monitoring.alerts.model import NO_ALERTS, AlertState, Notice, OpenAlert
from include.monitoring.checks.baseline import Baseline
from include.monitoring.checks.coins import CoinArrival
from include.monitoring.checks.dag_runs import Problem
from include.monitoring.checks.dead_letters import DeadLetters
from include.monitoring.checks.judge import Subject, Verdict
from include.monitoring.checks.lag import Status
from include.monitoring.checks.measurements import SOURCES, DagsMeasurement, LayersMeasurement, Measurements
from include.monitoring.checks.thresholds import in_force
from include.monitoring.checks.verdicts import SOURCE_NAMES, SOURCE_OF, failing_tests, numbers, verdicts
from include.state.audited import Audited
from include.state.dbt_tests import DbtTests, FailingTest, TestSeverity
from include.state.layer_state import QuarantineCount
from include.state.record_fields import ExtraField, Place, RecordFields
from include.state.task_tests import EVERY_ROW, TaskTests
from tests.unit.monitoring.measured import CONSUMER, EVERYTHING, KAFKA, LAYERS, NOW, OBJECTS, RUN, built

DAY = timedelta(days=1)


def judged(measured: Measurements, **blind: str) -> dict[str, Verdict]:
    limits, _ = in_force(None)
    return {verdict.condition: verdict for verdict in verdicts(measured, blind, limits)}


def published(measured: Measurements, **blind: str) -> dict[str, float]:
    return {datum.metric: datum.value for datum in numbers(measured, blind)}


# --- sources


def test_a_full_run_publishes_every_metric_of_the_monitor() -> None:
    data = numbers(EVERYTHING, {})
    assert {datum.metric for datum in data} == {metric.name for metric in MONITOR_METRICS}
    assert published(EVERYTHING)["BatchSizeLastHour"] == 100
    assert [datum.layer for datum in data if datum.metric == "DataAge"] == ["bronze", "silver"]  # gold's: not known
    assert [(datum.layer, datum.value) for datum in data if datum.metric == "BytesScanned"] == [("bronze", 7)]


def test_every_checked_condition_has_a_verdict() -> None:
    assert list(judged(EVERYTHING)) == [condition.name for condition in CONDITIONS.values() if condition.checked]


def test_measurements_are_the_same_after_their_way_through_xcom() -> None:
    builtins = msgspec.to_builtins(EVERYTHING, str_keys=True)
    assert msgspec.convert(builtins, Measurements, str_keys=True) == EVERYTHING


def test_without_any_source_only_heartbeat_and_blindness_are_published() -> None:
    blind = {str(source): "away" for source in SOURCES}
    assert published(Measurements(), **blind) == {"MonitorHeartbeat": 1, "BlindSources": 5}
    outcomes = judged(Measurements(), **blind)
    assert outcomes.pop("monitor_blind").outcome == "breached"
    assert {verdict.outcome for verdict in outcomes.values()} == {"unknown"}


@pytest.mark.parametrize("source", SOURCES)
def test_a_blind_source_does_not_affect_the_checks_of_other_sources(source: str) -> None:
    verdicts_by_name = judged(replace(EVERYTHING, **{source: None}), **{source: "away"})
    unknown = {name for name, verdict in verdicts_by_name.items() if "could not be read" in verdict.value}
    assert unknown == {name for name, needed in SOURCE_OF.items() if needed == source}
    assert all(SOURCE_NAMES[source] in verdicts_by_name[name].value for name in unknown)
    assert verdicts_by_name["monitor_blind"].subjects == {SOURCE_NAMES[source]: Subject("away")}


def test_a_broken_state_object_makes_only_its_own_layer_unknown() -> None:
    fault = {"state/layers/silver.json": "not readable"}
    known = {layer: state for layer, state in LAYERS.states.items() if layer != "silver"}
    layers = replace(LAYERS, states=known, ages={"bronze": 10.0, "gold": None}, unreadable=fault)
    measured = replace(EVERYTHING, layers=layers)
    outcomes = judged(measured, content="not readable")
    changed = {name for name, verdict in outcomes.items() if verdict.outcome != judged(EVERYTHING)[name].outcome}
    assert changed == {"stale_silver", "dbt_tests", "quarantine_share", "monitor_blind"}
    for name in changed - {"monitor_blind"}:
        assert outcomes[name].value == "unknown, the content of state/layers/silver.json could not be read"
    assert not published(measured).keys() & {"FailingTests", "QuarantineShare"}


def test_the_tests_of_a_broken_state_object_are_not_over() -> None:
    broken = replace(with_others(other(EVERY_ROW, failing("price"))), unreadable={"state/layers/silver.json": "no"})
    verdict = judged(replace(EVERYTHING, layers=broken))["dbt_tests"]
    old = OpenAlert("dbt_tests:unseen", "dbt_tests", "error", "x", NOW - DAY, NOW - DAY)
    state, new = transitions.advance(AlertState({old.key: old}, ()), [verdict], NOW, DAY)
    assert state.open.keys() == {"dbt_tests:unseen", "dbt_tests:price"}
    assert "dbt_tests:price" in {notice.alert.key for notice in new if notice.kind == "start"}


def test_undelivered_notices_of_a_broken_alert_state_are_unknown() -> None:
    measured = replace(EVERYTHING, layers=replace(LAYERS, undelivered=None))
    assert judged(measured)["notices_undelivered"].outcome == "unknown"
    assert "UndeliveredNotices" not in published(measured)


# --- Kafka


def test_an_unknown_age_is_not_published_and_headroom_is_unknown() -> None:
    unknown_age = replace(KAFKA, lag=replace(KAFKA.lag, seconds=None, headroom_seconds=None))
    measured = replace(EVERYTHING, kafka=unknown_age)
    assert not published(measured).keys() & {"EstimatedMaxTimeLag", "RetentionHeadroom"}
    assert judged(measured)["retention_headroom"].outcome == "unknown"
    unlimited = replace(unknown_age, retention_seconds=None)
    assert judged(replace(EVERYTHING, kafka=unlimited))["retention_headroom"].outcome == "ok"


def test_one_sample_alone_shows_no_stall_and_the_verdict_is_unknown() -> None:
    measured = replace(EVERYTHING, kafka=replace(KAFKA, window_fault="the lag window cannot be read: AccessDenied"))
    verdict = judged(measured)["consumer_stalled"]
    assert (verdict.outcome, "AccessDenied" in verdict.value) == ("unknown", True)
    assert "StalledPartitions" not in published(measured)


def test_one_sample_alone_shows_a_group_without_members() -> None:
    stopped = replace(KAFKA.lag, statuses={0: Status.STOP})
    kafka = replace(KAFKA, lag=stopped, members=0, window_fault="the lag window cannot be read: AccessDenied")
    measured = replace(EVERYTHING, kafka=kafka)
    assert judged(measured)["consumer_stalled"].outcome == "breached"
    assert published(measured)["StalledPartitions"] == 1


# --- the consumer


def test_a_learned_baseline_replaces_the_threshold_and_is_named() -> None:
    learned = replace(CONSUMER, baseline=Baseline(50.0, "50% of the usual 100 messages at this hour"))
    verdict = judged(replace(EVERYTHING, consumer=learned))["low_throughput"]
    assert (verdict.outcome, verdict.threshold) == ("breached", "< 50 in 5 min, learned from the last days")


def test_a_baseline_that_is_still_learned_leaves_the_threshold() -> None:
    learning = replace(CONSUMER, baseline=Baseline(None, "learning: 1 of 3 days"))
    verdict = judged(replace(EVERYTHING, consumer=learning))["low_throughput"]
    assert (verdict.outcome, verdict.details) == ("ok", ("learning: 1 of 3 days",))


def test_a_period_without_the_monitor_proves_nothing_about_the_consumer() -> None:
    windows = {**CONSUMER.windows, "MessagesConsumed": [None, None, None]}
    measured = replace(EVERYTHING, consumer=replace(CONSUMER, watched=2, windows=windows))
    verdict = judged(measured)["low_throughput"]
    assert (verdict.outcome, verdict.value) == ("unknown", "the monitor has watched for 2 of 3 periods")


def test_a_verdict_about_landing_has_lag_age_and_its_first_evidence() -> None:
    """The consumer stopped 14 minutes ago; the monitor sees it only now."""
    stopped = NOW - timedelta(minutes=14)
    lag = replace(KAFKA.lag, total=90, statuses={0: Status.STOP})
    kafka = replace(KAFKA, lag=lag, members=0, oldest_unread_at=stopped)
    objects = replace(OBJECTS, newest_at=stopped)
    verdict = judged(replace(EVERYTHING, kafka=kafka, objects=objects))["consumer_stalled"]
    assert verdict.began_at == stopped
    assert verdict.details[-2:] == (
        "not landed: 90 messages, the oldest since 2026-11-25T11:46:00Z",
        "newest object landed at 2026-11-25T11:46:00Z",
    )


def test_failed_and_slow_uploads_begin_with_their_first_attempt() -> None:
    first, second = NOW - timedelta(minutes=4), NOW - timedelta(minutes=3)
    windows = {**CONSUMER.windows, "UploadErrors": [0.0, 0.0, 9.0], "UploadDuration": [1.0, 1.0, 120.0]}
    minutes = {"UploadErrors": [(first - DAY, 0.0), (first, 4.0), (second, 5.0)], "UploadDuration": [(second, 120.0)]}
    found = judged(replace(EVERYTHING, consumer=replace(CONSUMER, windows=windows, minutes=minutes)))
    assert found["upload_errors"].began_at == first
    assert found["upload_errors"].value == "9 failed PUTs in 5 min"
    assert found["slow_uploads"].began_at == second - timedelta(minutes=2)


def test_low_throughput_begins_with_the_last_landed_message() -> None:
    last = NOW - timedelta(minutes=16)
    windows, minutes = {**CONSUMER.windows, "MessagesConsumed": [0.0, 0.0, 0.0]}, {"MessagesConsumed": [(last, 5.0)]}
    measured = replace(EVERYTHING, consumer=replace(CONSUMER, windows=windows, minutes=minutes))
    assert judged(measured)["low_throughput"].began_at == last


def test_dead_letters_are_counted_in_messages_with_classes_and_an_example() -> None:
    letters = DeadLetters({"not_json": 88, "missing_field": 2, "gap": 1}, 0, NOW - DAY, "quotes/0/7 at t, not_json: x")
    objects = replace(OBJECTS, dead_letter_objects=5, dead_letters=letters)
    verdict = judged(replace(EVERYTHING, objects=objects))["dead_letters"]
    assert (verdict.value, verdict.began_at) == ("90 messages in 5 objects of the last hour", NOW - DAY)
    assert verdict.details[:2] == (
        "rows by class: not_json 88, missing_field 2, gap 1",
        "newest: quotes/0/7 at t, not_json: x",
    )
    assert "python -m include.ingest replay" in verdict.details[2]
    more = replace(objects, dead_letters=replace(letters, unread=3))
    assert judged(replace(EVERYTHING, objects=more))["dead_letters"].value.startswith("at least 90 messages in 5")


def test_each_silent_coin_is_a_subject() -> None:
    silent = CoinArrival(True, NOW - DAY, 600.0, 240.0, 60.0)
    measured = replace(EVERYTHING, objects=replace(OBJECTS, coins={"BTC": silent, "XRP": OBJECTS.coins["BTC"]}))
    verdict = judged(measured)["quotes_missing"]
    assert verdict.subjects == {"BTC": Subject(silent.report(), None, NOW - DAY)}
    assert (published(measured)["SilentCoins"], verdict.value) == (1, "1 coin")
    blind = replace(EVERYTHING, objects=replace(OBJECTS, coins={"BTC": replace(silent, known=False)}))
    assert judged(blind)["quotes_missing"].outcome == "unknown"
    assert "SilentCoins" not in published(blind)


# --- the DAGs


def test_each_unhealthy_dag_is_a_subject_with_its_problems() -> None:
    failed, late = Problem("run r failed", NOW, "error", "r", "http://airflow.test/r"), Problem("none since", NOW - DAY)
    paused = Problem("the DAG is paused", NOW, "warning")
    dags = DagsMeasurement({"a": [failed, late], "b": [paused], "c": []}, "")
    measured = replace(EVERYTHING, dags=dags)
    assert published(measured)["UnhealthyDags"] == 2
    assert judged(measured)["dag_unhealthy"].subjects == {
        "a": Subject("run r failed; none since", "error", NOW - DAY, "http://airflow.test/r"),
        "b": Subject("the DAG is paused", "warning", NOW),
    }


# --- dbt's tests


def failing(name: str, severity: TestSeverity = "error") -> FailingTest:
    return FailingTest(name, severity, 2, "Got 2 results")


def other(task: str, *tests: FailingTest, at: datetime = NOW) -> TaskTests:
    return TaskTests(task, at, DbtTests(0, 0, len(tests), tests), RUN)


def with_others(*others: TaskTests) -> LayersMeasurement:
    return replace(LAYERS, other_tests=list(others))


@pytest.mark.parametrize(
    ("task", "severity"),
    [
        ("crypto_transform.cross_layer_tests", "error"),
        ("crypto_transform.reference.assets_seed", "warn"),
        (EVERY_ROW, "error"),
    ],
)
def test_a_test_outside_the_layers_is_counted(task: str, severity: TestSeverity) -> None:
    measured = replace(EVERYTHING, layers=with_others(other(task, failing("no_hole", severity))))
    assert published(measured)["FailingTests"] == 1
    verdict = judged(measured)["dbt_tests"]
    assert verdict.outcome == "breached"
    line, severity_of_alert = f"{task} ({severity}), 2 failing rows: Got 2 results", {"warn": "warning"}.get(severity)
    assert verdict.subjects == {"no_hole": Subject(line, severity_of_alert or "error")}  # type: ignore[arg-type]


def test_a_warning_about_an_old_row_does_not_alert_every_day() -> None:
    measured = replace(EVERYTHING, layers=with_others(other(EVERY_ROW, failing("price", "warn"))))
    assert judged(measured)["dbt_tests"].outcome == "ok"
    assert published(measured)["FailingTests"] == 0


def test_a_test_that_fails_in_a_layer_and_in_the_daily_run_counts_once() -> None:
    silver = replace(built("silver", {}), tests=DbtTests(8, 0, 1, (failing("price"),)))
    layers = replace(
        with_others(other(EVERY_ROW, failing("price"), failing("older"))), states={**LAYERS.states, "silver": silver}
    )
    assert list(failing_tests(layers)) == ["price", "older"]
    assert failing_tests(layers)["price"].line.startswith("silver (error)")


@pytest.mark.parametrize("first", ["callback", "monitor"])
def test_callback_and_monitor_together_make_one_start_and_one_recovery(first: str) -> None:
    """A task's failure callback and `check_dbt_tests` both see its failing test, in either order."""
    task, reminder, later = "crypto_transform.cross_layer_tests", timedelta(days=1), NOW + timedelta(minutes=15)
    red = judged(replace(EVERYTHING, layers=with_others(other(task, failing("no_hole")))))["dbt_tests"]
    green = judged(replace(EVERYTHING, layers=with_others(other(task, at=later))))["dbt_tests"]
    alert = OpenAlert("dbt_tests:no_hole", "dbt_tests", "error", "x", NOW, NOW, task="crypto_transform/t", successes=7)
    state: AlertState = NO_ALERTS
    notices: list[Notice] = []
    second = "monitor" if first == "callback" else "callback"
    for step in (first, second, "monitor", "callback", "monitor"):
        if step == "callback":
            state, new = transitions.raise_alerts(state, [alert], NOW, reminder)
        else:
            state, new = transitions.advance(state, [red], NOW, reminder)
        notices += new
    assert [notice.kind for notice in notices] == ["start"]
    state, new = transitions.advance(state, [green], later, reminder)
    notices += new
    state, over = transitions.count_successes(state, {("crypto_transform/t", ""): 8})
    state, new = transitions.end_alerts(state, over, later)
    notices += new
    state, new = transitions.advance(state, [green], later, reminder)
    assert [notice.kind for notice in [*notices, *new]] == ["start", "recovery"]
    assert not state.open


# --- quarantine -----------------------------------------------------------------------


def with_quarantine(quarantine: QuarantineCount | UnsetType) -> Measurements:
    silver = LAYERS.states["silver"]
    assert silver is not None
    return replace(
        EVERYTHING, layers=replace(LAYERS, states={**LAYERS.states, "silver": replace(silver, quarantine=quarantine)})
    )


@pytest.mark.parametrize(
    ("accepted", "refused", "outcome", "value"),
    [(98, 2, "breached", "2 %"), (99, 1, "ok", "1 %"), (0, 7, "breached", "100 %"), (200, 0, "ok", "0 %")],
)
def test_many_refused_rows_are_a_breach(accepted: int, refused: int, outcome: str, value: str) -> None:
    verdict = judged(with_quarantine(QuarantineCount(accepted, refused)))["quarantine_share"]
    assert (verdict.outcome, verdict.value) == (outcome, value)
    assert verdict.details == (f"{refused} of {accepted + refused} new rows",)


@pytest.mark.parametrize("quarantine", [QuarantineCount(0, 0), UNSET])
def test_without_new_rows_the_share_is_unknown(quarantine: QuarantineCount | UnsetType) -> None:
    assert judged(with_quarantine(quarantine))["quarantine_share"].outcome == "unknown"


# --- the audit


def audit_verdict(audit: Audited | None, **faults: str) -> Verdict:
    return judged(replace(EVERYTHING, layers=replace(LAYERS, audit=audit, unreadable=faults)))["audit_failed"]


def test_findings_of_the_audit_are_named() -> None:
    lines = ["missing: crypto_data/a.json: the manifest has it", "hole: partition 0, offset 4"]
    verdict = audit_verdict(Audited(NOW, "2026-11-24", "0" * 64, ["2026-11-24"], 12, lines))
    assert (verdict.outcome, verdict.value) == ("breached", "12 findings")
    assert {*lines, "10 more findings: see the log of lakehouse_maintenance.audit"} <= set(verdict.details)


def test_without_an_audit_nothing_is_known_about_it() -> None:
    assert (audit_verdict(None).outcome, audit_verdict(None).value) == ("unknown", "no audit has run yet")
    assert audit_verdict(Audited(NOW, "", "", [], 0, [])).outcome == "unknown"
    assert "AuditFindings" not in published(replace(EVERYTHING, layers=replace(LAYERS, audit=None)))


def test_before_a_day_with_records_has_ended_no_audit_is_missed() -> None:
    verdict = judged(replace(EVERYTHING, layers=replace(LAYERS, audit=None, audit_due=False)))["audit_failed"]
    assert (verdict.outcome, verdict.details) == ("ok", ("no day with records has to be audited yet",))


def test_a_broken_verdict_of_the_audit_is_unknown() -> None:
    assert "state/audit.json" in audit_verdict(None, **{"state/audit.json": "not readable"}).value


def test_findings_before_the_first_manifest_alert_too() -> None:
    assert audit_verdict(Audited(NOW, "", "", ["2026-11-24"], 1, ["chain: edited"])).outcome == "breached"


# --- the fields of the records --------------------------------------------------------


def with_fields(fields: RecordFields | UnsetType) -> Measurements:
    bronze = LAYERS.states["bronze"]
    assert bronze is not None
    states = {**LAYERS.states, "bronze": replace(bronze, record_fields=fields)}
    return replace(EVERYTHING, layers=replace(LAYERS, states=states))


def test_each_drifting_field_is_an_alert_of_its_own() -> None:
    rank = ExtraField({"number": Place(NOW - DAY, 2, 4200)}, {"number": 10}, 40, NOW, "7")
    fields = RecordFields(NOW, 40, (), {"rank": rank, "venue": replace(rank, known="number")}, unlisted=3)
    verdict = judged(with_fields(fields))["schema_drift"]
    assert (verdict.outcome, verdict.value, verdict.details) == ("breached", "1 field", ("and 3 further fields",))
    assert verdict.subjects is not None
    assert {name: subject.began_at for name, subject in verdict.subjects.items()} == {"rank": NOW - DAY}
    state, new = transitions.advance(NO_ALERTS, [verdict], NOW, DAY)
    assert [(notice.alert.key, notice.alert.severity) for notice in new] == [("schema_drift:rank", "warning")]
    known = replace(fields, extra={"rank": replace(rank, known="number")})
    _, new = transitions.advance(state, [judged(with_fields(known))["schema_drift"]], NOW, DAY)
    assert [(notice.kind, notice.alert.key) for notice in new] == [("recovery", "schema_drift:rank")]


def test_a_state_without_fields_says_nothing_about_drift() -> None:
    measured = with_fields(UNSET)
    assert judged(measured)["schema_drift"].outcome == "unknown"
    assert "DriftingFields" not in published(measured)
