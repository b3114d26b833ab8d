"""One incident, one start and one end: a consequence is listed under its cause."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec import UNSET

from include.catalogue import CONDITIONS, Severity
from include.monitoring.alerts import transitions
from include.monitoring.alerts.causes import AFTERMATH, explains
from include.monitoring.alerts.model import NO_ALERTS, AlertState, Effect, Notice, OpenAlert
from include.monitoring.checks.judge import Subject, Verdict

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
INTERVAL = timedelta(minutes=5)
REMINDER = timedelta(hours=6)

Step = Mapping[str, str]
"""The conditions of one run of the monitor: `ok`, or the subjects of a breach, separated by commas ('' without one)."""


def verdict(condition: str, subjects: str, began_at: datetime | None = None) -> Verdict:
    if subjects == "ok":
        return Verdict(condition, "ok", "0", "> 0")
    named = {name: Subject(f"line about {name}") for name in subjects.split(",") if name}
    return Verdict(condition, "breached", "7", "> 0", (), named or None, None, began_at)


def watch(*steps: Step, state: AlertState = NO_ALERTS, begin: datetime = NOW) -> tuple[AlertState, list[list[Notice]]]:
    """The state after runs of the monitor, five minutes apart, and the notices of each."""
    notices = []
    for number, step in enumerate(steps):
        judged = [verdict(condition, subjects) for condition, subjects in step.items()]
        state, new = transitions.advance(state, judged, begin + number * INTERVAL, REMINDER)
        notices.append(new)
    return state, notices


def told(notices: list[list[Notice]]) -> list[list[str]]:
    return [[f"{notice.kind} {notice.alert.key}" for notice in new] for new in notices]


def effects(alert: OpenAlert) -> dict[str, bool]:
    """Key of each consequence, and whether it has ended."""
    return {} if alert.effects is UNSET else {effect.key: effect.ended_at is not None for effect in alert.effects}


def test_an_outage_of_s3_is_one_start_and_one_end() -> None:
    sources = "objects in S3,layer states in S3,alert state in S3"
    fails = {"monitor_blind": sources, "upload_errors": "", "kafka_lag": ""}
    over = {"monitor_blind": "ok", "upload_errors": "ok", "kafka_lag": "ok"}
    _, notices = watch(fails, {**fails, "low_throughput": "", "stale_gold": ""}, {**over, "low_throughput": "ok"}, over)
    root = "monitor_blind:objects in S3"
    assert told(notices) == [[f"start {root}"], [], [f"recovery {root}"], []]
    assert effects(notices[0][0].alert) == {
        "monitor_blind:layer states in S3": False,
        "monitor_blind:alert state in S3": False,
        "upload_errors": False,
        "kafka_lag": False,
    }
    assert effects(notices[2][0].alert) == {
        "monitor_blind:layer states in S3": True,
        "monitor_blind:alert state in S3": True,
        "upload_errors": True,
        "kafka_lag": True,
        "low_throughput": True,
        "stale_gold": False,
    }


def test_what_the_recovery_brings_belongs_to_the_incident() -> None:
    """Failed and slow uploads are published when S3 works again; they were before."""
    state, notices = watch({"monitor_blind": "objects in S3"}, {"monitor_blind": "ok"})
    assert told(notices) == [["start monitor_blind:objects in S3"], ["recovery monitor_blind:objects in S3"]]
    late = [verdict(name, "", began_at=NOW) for name in ("upload_errors", "slow_uploads")]
    state, new = transitions.advance(state, late, NOW + 2 * INTERVAL, REMINDER)
    assert new == []
    _, notices = watch({"upload_errors": "ok", "slow_uploads": "ok"}, state=state, begin=NOW + 3 * INTERVAL)
    assert notices == [[]]


def test_what_begins_after_the_end_of_a_cause_is_told_at_once() -> None:
    state, _ = watch({"monitor_blind": "objects in S3"}, {"monitor_blind": "ok"})
    at = NOW + 2 * INTERVAL
    _, new = transitions.advance(state, [verdict("consumer_stalled", "", at)], at, REMINDER)
    assert told([new]) == [["start consumer_stalled"]]


def test_a_consequence_that_outlives_its_cause_becomes_an_alert_of_its_own() -> None:
    lags = {"upload_errors": "ok", "kafka_lag": ""}
    count = AFTERMATH // INTERVAL
    state, notices = watch({"upload_errors": "", "kafka_lag": ""}, *[lags] * (count + 1), {"kafka_lag": "ok"})
    quiet: list[list[str]] = [[]] * (count - 1)
    assert told(notices) == [
        ["start upload_errors"],
        ["recovery upload_errors"],
        *quiet,
        ["start kafka_lag"],
        ["recovery kafka_lag"],
    ]
    start = next(notice for new in notices for notice in new if notice.alert.key == "kafka_lag")
    assert start.alert.since == NOW
    assert not state.open


def test_a_second_cause_is_told_when_it_begins() -> None:
    both = {"upload_errors": "", "kafka_lag": "", "dead_letters": "", "retention_headroom": ""}
    _, notices = watch({"upload_errors": "", "kafka_lag": ""}, both)
    assert told(notices) == [["start upload_errors"], ["start dead_letters", "start retention_headroom"]]


def test_a_stopped_partition_explains_the_delay_of_its_records() -> None:
    behind = {"kafka_lag": "", "quotes_missing": "BTC", "stale_gold": ""}
    state, notices = watch({"partitions_stopped": ""}, {"partitions_stopped": "", **behind})
    assert told(notices) == [["start partitions_stopped"], []]
    later = NOW + timedelta(hours=9)
    _, new = transitions.advance(state, [verdict("consumer_stalled", "", later)], later, 2 * REMINDER)
    assert told([new]) == [["start consumer_stalled"]]


def test_what_began_long_before_a_cause_has_another_reason() -> None:
    began = {"upload_errors": NOW - INTERVAL, "stale_bronze": NOW - timedelta(days=8), "stale_gold": NOW - 4 * INTERVAL}
    judged = [verdict(name, "", at) for name, at in began.items()]
    _, new = transitions.advance(NO_ALERTS, judged, NOW, REMINDER)
    assert told([new]) == [["start upload_errors", "start stale_bronze"]]


def test_an_alert_that_was_told_before_its_cause_keeps_its_end() -> None:
    _, notices = watch(
        {"kafka_lag": ""}, {"kafka_lag": "", "upload_errors": ""}, {"kafka_lag": "ok", "upload_errors": "ok"}
    )
    assert told(notices) == [
        ["start kafka_lag"],
        ["start upload_errors"],
        ["recovery kafka_lag", "recovery upload_errors"],
    ]


def test_a_consequence_gets_no_reminder_and_the_causes_reminder_lists_it() -> None:
    step = {"upload_errors": "", "kafka_lag": ""}
    _, notices = watch(*[step] * (REMINDER // INTERVAL + 1))
    (reminder,) = notices[-1]
    assert (reminder.kind, effects(reminder.alert)) == ("reminder", {"kafka_lag": False})


def test_services_that_fail_at_the_same_time_are_two_incidents() -> None:
    _, notices = watch({"monitor_blind": "Kafka,objects in S3,layer states in S3,publishing to CloudWatch"})
    assert told(notices) == [
        [
            "start monitor_blind:Kafka",
            "start monitor_blind:objects in S3",
            "start monitor_blind:publishing to CloudWatch",
        ]
    ]


@pytest.mark.parametrize(
    ("task", "key", "explained"),
    [
        ("d/t", "task_failed:d/t", True),
        ("d/t", "dbt_tests:no_hole", True),
        ("d/t", "run_late:d", True),
        ("other/t", "task_failed:other/t", False),
        ("other/t", "dbt_tests:no_hole", False),
        ("", "dbt_tests:no_hole", False),
        ("", "kafka_lag", False),
    ],
)
def test_an_unhealthy_dag_is_explained_by_what_its_own_tasks_reported(task: str, key: str, explained: bool) -> None:
    alert = OpenAlert("dag_unhealthy:d", "dag_unhealthy", "error", "x", NOW, NOW)
    assert explains(key, task, alert) is explained
    cause = OpenAlert(key, key.partition(":")[0], "error", "x", NOW, NOW, task=task)
    _, notices = watch({"dag_unhealthy": "d"}, state=AlertState({key: cause}, ()))
    assert bool(notices[0]) is not explained


@pytest.mark.parametrize(("severity", "told_too"), [("warning", True), ("error", False)])
def test_a_warning_explains_no_error(severity: Severity, told_too: bool) -> None:
    """A data test that has warned for days must not hide that the DAG's worker was killed."""
    cause = OpenAlert("dbt_tests:rare", "dbt_tests", severity, "x", NOW - timedelta(days=3), NOW, task="d/t")
    subject = {"d": Subject("run r failed", "error", NOW)}
    failed = Verdict("dag_unhealthy", "breached", "1", "> 0", (), subject)
    _, new = transitions.advance(AlertState({cause.key: cause}, ()), [failed], NOW, REMINDER)
    assert bool(new) is told_too


def test_a_consequence_that_becomes_an_error_leaves_a_warning() -> None:
    cause = OpenAlert("dbt_tests:rare", "dbt_tests", "warning", "x", NOW, NOW, task="d/t")
    state, notices = AlertState({cause.key: cause}, ()), []
    for number, severity in enumerate(("warning", "warning", "error")):
        dag = Verdict("dag_unhealthy", "breached", "1", "> 0", (), {"d": Subject("line", severity)})  # type: ignore[arg-type]
        state, new = transitions.advance(state, [dag], NOW + number * INTERVAL, REMINDER)
        notices.append(new)
    assert told(notices) == [[], [], ["start dag_unhealthy:d"]]
    assert state.open["dag_unhealthy:d"].cause is UNSET


@pytest.mark.parametrize("later", [timedelta(minutes=20), timedelta(hours=3)])
def test_a_source_that_stays_blind_hides_no_later_fault(later: timedelta) -> None:
    """Wrong prefixes or a missing right make the objects blind for days; the consumer may die meanwhile."""
    state, _ = watch({"monitor_blind": "objects in S3"})
    at = NOW + later
    _, new = transitions.advance(state, [verdict("consumer_stalled", "", at)], at, REMINDER)
    assert bool(new) is (later > timedelta(hours=1))


def test_a_second_coin_that_falls_silent_hours_later_is_told() -> None:
    both, later = {"BTC": Subject("a", None, NOW), "ETH": Subject("b", None, NOW)}, NOW + timedelta(hours=2)
    silent = Verdict("quotes_missing", "breached", "2", "> 0", (), both)
    state, first = transitions.advance(NO_ALERTS, [silent], NOW, REMINDER)
    assert told([first]) == [["start quotes_missing:BTC"]]
    third = Verdict("quotes_missing", "breached", "3", "> 0", (), both | {"SOL": Subject("c", None, later)})
    _, new = transitions.advance(state, [third], later, REMINDER)
    assert told([new]) == [["start quotes_missing:SOL"]]


def test_a_warning_that_becomes_an_error_is_told_again() -> None:
    def paused(severity: str) -> Verdict:
        subject = Subject("line", severity)  # type: ignore[arg-type]
        return Verdict("dag_unhealthy", "breached", "1", "> 0", (), {"d": subject})

    state, notices = NO_ALERTS, []
    for number, severity in enumerate(("warning", "warning", "error", "error")):
        state, new = transitions.advance(state, [paused(severity)], NOW + number * INTERVAL, REMINDER)
        notices.append(new)
    assert [[(notice.kind, notice.alert.severity) for notice in new] for new in notices] == [
        [("start", "warning")],
        [],
        [("start", "error")],
        [],
    ]


def test_every_pattern_of_the_catalogue_names_a_condition() -> None:
    patterns = [pattern for condition in CONDITIONS.values() for pattern in condition.explained_by]
    assert {pattern.partition(":")[0] for pattern in patterns} <= set(CONDITIONS)


def test_a_state_without_causes_has_the_fields_of_the_version_before() -> None:
    state, _ = watch({"dead_letters": ""})
    fields = msgspec.to_builtins(state)
    assert not fields["open"]["dead_letters"].keys() & {"cause", "effects", "began_at"}
    assert "ended" not in fields


def test_the_state_with_causes_survives_json() -> None:
    state, _ = watch({"upload_errors": "", "kafka_lag": ""}, {"upload_errors": "ok", "kafka_lag": ""})
    assert msgspec.json.decode(msgspec.json.encode(state), type=AlertState) == state
    assert isinstance(state.ended, dict)
    assert Effect("k", "error", "t", "7", NOW).ended_at is None


def test_a_dag_that_is_paused_after_the_end_of_its_late_run_is_told() -> None:
    late = OpenAlert("run_late:d", "run_late", "error", "x", NOW - INTERVAL, NOW - INTERVAL)
    state, _ = transitions.end_alerts(AlertState({late.key: late}, ()), [late.key], NOW)
    at = NOW + timedelta(seconds=30)
    paused = Verdict("dag_unhealthy", "breached", "1", "> 0", (), {"d": Subject("the DAG is paused", "warning", at)})
    _, new = transitions.advance(state, [paused], at, REMINDER)
    assert told([new]) == [["start dag_unhealthy:d"]]
