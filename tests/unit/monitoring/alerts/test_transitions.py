"""When a condition is breached and when somebody is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.catalogue import CONDITIONS
from include.monitoring.alerts import transitions as alert_rules
from include.monitoring.alerts.model import AlertState, Notice, OpenAlert
from include.monitoring.checks.judge import Measured, Outcome, Verdict, judge
from include.monitoring.checks.thresholds import Threshold

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TICK = timedelta(minutes=5)
REMINDER = timedelta(hours=6)


@pytest.mark.parametrize(
    ("condition", "measured", "outcome", "says"),
    [
        ("kafka_lag", Measured((1000.0,)), "ok", "1,000"),
        ("kafka_lag", Measured((1001.0,)), "breached", "1,001"),
        ("kafka_lag", Measured(blind="Kafka could not be read"), "unknown", "Kafka could not be read"),
        ("kafka_lag", Measured((None,)), "unknown", "no data"),
        ("upload_errors", Measured((9.0, 0.0)), "ok", "0 in 5 min"),
        ("upload_errors", Measured((0.0, 6.0)), "breached", "6 in 5 min"),
        ("upload_errors", Measured((0.0, None)), "unknown", "no data"),
        ("slow_uploads", Measured((31.0, None)), "ok", "no data"),
        ("slow_uploads", Measured((None, 30.5)), "breached", "30 s"),
        ("low_throughput", Measured((0.0, 2.0, None)), "breached", "no data, 3 periods on end"),
        ("low_throughput", Measured((2.0, 3.0, 2.0)), "ok", "2 in 5 min"),
        ("low_throughput", Measured((None, None), note="watched for 2 of 3"), "unknown", "watched for 2 of 3"),
        ("retention_headroom", Measured((None,), note="no time limit"), "ok", "no time limit"),
        ("retention_headroom", Measured((3600.0,)), "breached", "60 min"),
        ("stale_gold", Measured((7201.0,)), "breached", "2 h"),
        ("stale_gold", Measured(note="nothing has landed yet"), "unknown", "nothing has landed yet"),
    ],
)
def test_judge(condition: str, measured: Measured, outcome: Outcome, says: str) -> None:
    one = CONDITIONS[condition]
    verdict = judge(one, measured, Threshold(one.threshold))
    assert (verdict.outcome, says in verdict.value) == (outcome, True), verdict


def test_the_verdict_names_the_thresholds_source_and_warnings() -> None:
    threshold = Threshold(5000, "Variable monitor_thresholds")
    verdict = judge(CONDITIONS["kafka_lag"], Measured((1.0,)), threshold, "its CloudWatch alarm is set to 1000")
    assert verdict.threshold == "> 5,000, Variable monitor_thresholds"
    assert "its CloudWatch alarm is set to 1000" in verdict.sentence


def test_a_verdict_survives_xcom() -> None:
    verdict = Verdict("dbt_tests", "breached", "1", "> 0", ("a",), {"t": "line"}, NOW)
    assert Verdict.from_json(verdict.to_json()) == verdict


def verdict(outcome: Outcome, condition: str = "kafka_lag", **fields: object) -> Verdict:
    return Verdict(condition, outcome, "2,000", "> 1,000", **fields)  # type: ignore[arg-type]


def run(
    ticks: list[list[Verdict]], state: AlertState | None = None, begin: datetime = NOW
) -> tuple[AlertState, list[list[tuple[str, str]]]]:
    """The state after ticks of five minutes and what was told in each (kind, key)."""
    state = state or AlertState()
    told: list[list[tuple[str, str]]] = []
    for index, verdicts in enumerate(ticks):
        state, new = alert_rules.advance(state, verdicts, begin + TICK * index, REMINDER)
        told.append([(notice.kind, notice.alert.key) for notice in new])
    return state, told


def test_one_notice_at_the_start_none_while_it_lasts_one_when_it_is_over() -> None:
    state, told = run([[verdict("ok")], [verdict("breached")], [verdict("breached")], [verdict("ok")], [verdict("ok")]])
    assert told == [[], [("start", "kafka_lag")], [], [("recovery", "kafka_lag")], []]
    assert not state.open
    assert [notice.kind for notice in state.outbox] == ["start", "recovery"]


def test_unknown_opens_nothing_and_closes_nothing() -> None:
    state, told = run([[verdict("unknown")], [verdict("breached")], [verdict("unknown")], []])
    assert told == [[], [("start", "kafka_lag")], [], []]
    assert list(state.open) == ["kafka_lag"]


def test_a_reminder_each_six_hours() -> None:
    ticks = 12 * 13  # 13 hours
    _, told = run([[verdict("breached")]] * ticks)
    kinds = [kind for tick in told for kind, _ in tick]
    assert kinds == ["start", "reminder", "reminder"]


def test_since_is_kept_while_value_and_details_follow() -> None:
    later = Verdict("kafka_lag", "breached", "9,999", "> 1,000", ("the oldest is 2 h old",))
    state, _ = run([[verdict("breached")], [later]])
    alert = state.open["kafka_lag"]
    assert (alert.since, alert.value, alert.details) == (NOW, "9,999", ("the oldest is 2 h old",))


def test_each_failing_test_is_an_alert_of_its_own() -> None:
    one = verdict("breached", "dbt_tests", subjects={"t1": "line 1"}, as_of=NOW + TICK)
    two = verdict("breached", "dbt_tests", subjects={"t1": "line 1", "t2": "line 2"}, as_of=NOW + TICK)
    none = verdict("ok", "dbt_tests", subjects={}, as_of=NOW + 3 * TICK)
    _, told = run([[one], [two], [one], [none]])
    assert told == [
        [("start", "dbt_tests:t1")],
        [("start", "dbt_tests:t2")],
        [("recovery", "dbt_tests:t2")],
        [("recovery", "dbt_tests:t1")],
    ]


def test_what_a_callback_raised_is_not_refuted_by_older_facts() -> None:
    raised, new = alert_rules.raised(AlertState(), [alert("dbt_tests:t1", "dbt_tests")], NOW, REMINDER)
    assert [notice.kind for notice in new] == ["start"]
    stale = verdict("ok", "dbt_tests", subjects={}, as_of=NOW - timedelta(minutes=1))
    fresh = verdict("ok", "dbt_tests", subjects={}, as_of=NOW + timedelta(minutes=1))
    _, told = run([[stale], [fresh]], raised, NOW + TICK)
    assert told == [[], [("recovery", "dbt_tests:t1")]]


def test_monitor_and_callback_do_not_tell_twice() -> None:
    raised, _ = alert_rules.raised(AlertState(), [alert("dbt_tests:t1", "dbt_tests")], NOW, REMINDER)
    seen = verdict("breached", "dbt_tests", subjects={"t1": "line"}, as_of=NOW + TICK)
    _, told = run([[seen]], raised, NOW + TICK)
    assert told == [[]]
    _, again = alert_rules.raised(raised, [alert("dbt_tests:t1", "dbt_tests")], NOW + TICK, REMINDER)
    assert again == []


def test_a_failed_task_is_over_when_told_so_and_only_once() -> None:
    raised, _ = alert_rules.raised(AlertState(), [alert("task_failed:d/t", "task_failed")], NOW, REMINDER)
    after, new = alert_rules.ended(raised, ["task_failed:d/t", "task_failed:d/other"], NOW + TICK)
    assert [notice.kind for notice in new] == ["recovery"]
    assert alert_rules.ended(after, ["task_failed:d/t"], NOW + TICK)[1] == []


def alert(key: str, condition: str) -> OpenAlert:
    return OpenAlert(key, condition, "error", key, NOW, NOW)


def from_task(key: str, condition: str, successes: int | None) -> OpenAlert:
    return replace(alert(key, condition), task="d/t", successes=successes)


def test_what_a_failed_task_raised_is_over_when_the_task_succeeds_and_not_before() -> None:
    state, _ = alert_rules.raised(AlertState(), [from_task("dbt_tests:t1", "dbt_tests", 3)], NOW, REMINDER)
    unseen = verdict("ok", "dbt_tests", subjects={}, as_of=NOW + TICK)
    state, told = run([[unseen]], state, NOW + TICK)
    assert told == [[]]  # a test across layers stands in no layer's state
    assert alert_rules.counted(state, {("d/t", ""): 3})[1] == []
    assert alert_rules.counted(state, {})[1] == []
    assert alert_rules.counted(state, {("d/t", ""): 4})[1] == ["dbt_tests:t1"]


@pytest.mark.parametrize("known", [None, 9])
def test_a_count_that_is_not_known_or_fell_is_noted_and_ends_nothing(known: int | None) -> None:
    state, _ = alert_rules.raised(AlertState(), [from_task("task_failed:d/t", "task_failed", known)], NOW, REMINDER)
    state, over = alert_rules.counted(state, {("d/t", ""): 5})
    assert (over, state.open["task_failed:d/t"].successes) == ([], 5)
    assert alert_rules.counted(state, {("d/t", ""): 6})[1] == ["task_failed:d/t"]


def late(run: str) -> OpenAlert:
    return replace(from_task("run_late:d", "run_late", None), run=run, run_url=f"http://airflow.test/{run}")


@pytest.mark.parametrize("at_work", ["queued", "running"])
def test_a_late_run_is_not_over_before_it_has_ended_and_over_when_it_ends_well(at_work: str) -> None:
    state, _ = alert_rules.raised(AlertState(), [late("d/r1")], NOW, REMINDER)
    for others in (4, 5, 6):
        state, over = alert_rules.counted(state, {("d/t", "d/r1"): others}, {"d/r1": at_work})
        assert over == []
    assert alert_rules.counted(state, {}, {"d/r1": "success"})[1] == ["run_late:d"]


@pytest.mark.parametrize("ended", [{"d/r1": "failed"}, {}], ids=["failed", "deleted"])
def test_a_late_run_that_failed_is_over_when_another_one_works(ended: dict[str, str]) -> None:
    """Also where that one has worked before the first look at the run's end."""
    state, _ = alert_rules.raised(AlertState(), [late("d/r1")], NOW, REMINDER)
    state, _ = alert_rules.counted(state, {("d/t", "d/r1"): 4}, {"d/r1": "running"})
    assert alert_rules.counted(state, {("d/t", "d/r1"): 4}, ended)[1] == []  # nothing was built
    assert alert_rules.counted(state, {("d/t", "d/r1"): 5}, ended)[1] == ["run_late:d"]


def test_when_another_run_is_late_too_that_one_must_end() -> None:
    state, _ = alert_rules.raised(AlertState(), [late("d/r1")], NOW, REMINDER)
    state, _ = alert_rules.counted(state, {("d/t", "d/r1"): 4}, {"d/r1": "failed"})
    state, told = alert_rules.raised(state, [late("d/r2")], NOW + TICK, REMINDER)
    assert told == []
    assert state.open["run_late:d"].run_url == "http://airflow.test/d/r2"
    assert state.open["run_late:d"].since == NOW
    state, over = alert_rules.counted(state, {("d/t", "d/r2"): 4}, {"d/r2": "running"})
    assert over == []
    assert alert_rules.counted(state, {("d/t", "d/r2"): 4}, {"d/r2": "success"})[1] == ["run_late:d"]
    assert alert_rules.counted(state, {("d/t", "d/r2"): 5}, {"d/r2": "failed"})[1] == ["run_late:d"]


def test_an_alert_that_is_about_no_run_can_be_read_by_an_earlier_release() -> None:
    assert "run" not in alert("a", "kafka_lag").to_json()
    assert OpenAlert.from_json(late("d/r1").to_json()) == late("d/r1")


def test_a_claimed_notice_is_nobody_elses_until_the_claim_runs_out() -> None:
    state, _ = run([[verdict("breached")]])
    state, mine = alert_rules.claim(state, NOW)
    assert [notice.attempts for notice in mine] == [1]
    assert alert_rules.claim(state, NOW + timedelta(minutes=1))[1] == []
    assert len(alert_rules.claim(state, NOW + timedelta(minutes=2))[1]) == 1


def test_a_refused_notice_stays_and_is_tried_again() -> None:
    state, _ = run([[verdict("breached")]])
    state, mine = alert_rules.claim(state, NOW)
    state = alert_rules.refused(state, [mine[0].id], "SMTPException: no")
    assert state.outbox[0].last_error == "SMTPException: no"
    state, again = alert_rules.claim(state, NOW + TICK)
    assert [(notice.id, notice.attempts) for notice in again] == [(mine[0].id, 2)]
    assert alert_rules.delivered(state, [mine[0].id]).outbox == ()


outcomes = st.lists(st.sampled_from(["ok", "breached", "unknown"]), max_size=40)


@given(outcomes)
def test_starts_and_recoveries_alternate(sequence: list[Outcome]) -> None:
    state, told = run([[verdict(outcome)] for outcome in sequence])
    kinds = [kind for tick in told for kind, _ in tick if kind != "reminder"]
    assert kinds == ["start", "recovery"] * (len(kinds) // 2) + ["start"] * (len(kinds) % 2)
    known = [outcome for outcome in sequence if outcome != "unknown"]
    assert bool(state.open) == (bool(known) and known[-1] == "breached")


@given(outcomes)
def test_the_state_survives_json(sequence: list[Outcome]) -> None:
    state, _ = run([[verdict(outcome)] for outcome in sequence])
    state, _ = alert_rules.claim(state, NOW)
    assert AlertState.from_json(state.to_json()) == state


def test_notice_ids_differ() -> None:
    state, _ = run([[verdict("breached")], [verdict("ok")], [verdict("breached")]])
    ids = {notice.id for notice in state.outbox}
    assert len(ids) == 3
    assert all(isinstance(notice, Notice) for notice in state.outbox)


def waiting(mark: str, attempts: int, claimed_until: datetime | None) -> Notice:
    alert = OpenAlert("k", "kafka_lag", "error", "Kafka lag is high", NOW, NOW, "1", "> 0")
    return Notice(mark, "start", alert, NOW, attempts, claimed_until)


def test_a_notice_that_is_being_sent_is_not_undelivered() -> None:
    outbox = (
        waiting("new", 0, None),
        waiting("being sent", 1, NOW + TICK),
        waiting("refused", 1, None),
        waiting("its sender died", 1, NOW - TICK),
    )
    assert [one.id for one in alert_rules.undelivered(AlertState({}, outbox), NOW)] == ["refused", "its sender died"]


def test_what_only_a_callback_raised_is_reminded_of() -> None:
    """No verdict repeats it: without this it would be told once and never again."""
    one = OpenAlert("task_failed:d/t", "task_failed", "error", "A task failed: d / t", NOW, NOW, "1", "any", task="d/t")
    other = replace(one, key="kafka_lag", task="")
    state = AlertState({one.key: one, other.key: other})
    early, told = alert_rules.reminded(state, NOW + REMINDER - TICK, REMINDER)
    assert (early, told) == (state, [])
    later, told = alert_rules.reminded(state, NOW + REMINDER, REMINDER)
    assert [(notice.kind, notice.alert.key) for notice in told] == [("reminder", one.key)]
    assert alert_rules.reminded(later, NOW + REMINDER + TICK, REMINDER)[1] == []
