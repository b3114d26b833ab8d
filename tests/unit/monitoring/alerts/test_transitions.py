"""Start and end of alerts, and the notices about them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from include.monitoring.alerts import transitions
from include.monitoring.alerts.model import NO_ALERTS, AlertState, Notice, NoticeKind, OpenAlert
from include.monitoring.checks.judge import Outcome, Subject, Verdict
from include.on_airflow import connections
from include.state.silences import Silence, Silences

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
INTERVAL = timedelta(minutes=5)
REMINDER = timedelta(hours=6)


def verdict(outcome: Outcome, condition: str = "kafka_lag", **fields: object) -> Verdict:
    return Verdict(condition, outcome, "2,000", "> 1,000", **fields)  # type: ignore[arg-type]


def verdict_on_tests(*names: str, as_of: datetime) -> Verdict:
    """The verdict on dbt's tests when the tests `names` fail."""
    subjects = {name: Subject(f"line about {name}") for name in names}
    return verdict("breached" if names else "ok", "dbt_tests", subjects=subjects, as_of=as_of)


def alert(key: str, condition: str, task: str = "", successes: int | None = None) -> OpenAlert:
    return OpenAlert(key, condition, "error", key, NOW, NOW, task=task, successes=successes)


def late(run: str) -> OpenAlert:
    return replace(alert("run_late:d", "run_late", "d/t"), run=run, run_url=f"http://airflow.test/{run}")


def raised(*alerts: OpenAlert, state: AlertState = NO_ALERTS, at: datetime = NOW) -> AlertState:
    return transitions.raise_alerts(state, alerts, at, REMINDER)[0]


def run(
    verdicts_by_run: list[list[Verdict]], state: AlertState = NO_ALERTS, begin: datetime = NOW
) -> tuple[AlertState, list[list[tuple[str, str]]]]:
    """The state after runs of the monitor, five minutes apart, and the notices of each (kind, key)."""
    notices: list[list[tuple[str, str]]] = []
    for index, verdicts in enumerate(verdicts_by_run):
        state, new = transitions.advance(state, verdicts, begin + INTERVAL * index, REMINDER)
        notices.append([(notice.kind, notice.alert.key) for notice in new])
    return state, notices


# --- start, reminder, recovery


def test_one_notice_at_the_start_and_one_at_the_end() -> None:
    outcomes: list[Outcome] = ["ok", "breached", "breached", "ok", "ok"]
    state, notices = run([[verdict(outcome)] for outcome in outcomes])
    assert notices == [[], [("start", "kafka_lag")], [], [("recovery", "kafka_lag")], []]
    assert not state.open
    assert [notice.kind for notice in state.outbox] == ["start", "recovery"]


def test_an_unknown_verdict_opens_and_closes_no_alert() -> None:
    state, notices = run([[verdict("unknown")], [verdict("breached")], [verdict("unknown")], []])
    assert notices == [[], [("start", "kafka_lag")], [], []]
    assert list(state.open) == ["kafka_lag"]


def test_a_reminder_is_sent_every_six_hours() -> None:
    thirteen_hours = 12 * 13
    state, notices = run([[verdict("breached")]] * thirteen_hours)
    assert [kind for new in notices for kind, _ in new] == ["start", "reminder", "reminder"]
    assert state.open["kafka_lag"].mails == 3


def test_since_is_kept_while_value_and_details_follow() -> None:
    later = Verdict("kafka_lag", "breached", "9,999", "> 1,000", ("the oldest is 2 h old",))
    state, _ = run([[verdict("breached")], [later]])
    alert = state.open["kafka_lag"]
    assert (alert.since, alert.value, alert.details) == (NOW, "9,999", ("the oldest is 2 h old",))


def test_an_alert_begins_with_its_first_evidence() -> None:
    """By the verdict, or by each of its subjects; later looks do not move it."""
    early, earlier = NOW - INTERVAL, NOW - 2 * INTERVAL
    silent = {"BTC": Subject("line", began_at=early), "XRP": Subject("line", began_at=earlier), "SOL": Subject("line")}
    verdicts = [verdict("breached", began_at=early), verdict("breached", "quotes_missing", subjects=silent)]
    later = [verdict("breached", began_at=NOW), verdict("breached", "quotes_missing", subjects=silent)]
    state, _ = run([verdicts, later])
    begun = {key: (alert.begin_at, alert.since) for key, alert in state.open.items()}
    assert begun == {
        "kafka_lag": (early, NOW),
        "quotes_missing:BTC": (early, NOW),
        "quotes_missing:XRP": (earlier, NOW),
        "quotes_missing:SOL": (NOW, NOW),
    }


def test_each_failing_test_is_an_alert_of_its_own() -> None:
    early, end = NOW + INTERVAL, NOW + 3 * INTERVAL
    failing = [("t1",), ("t1", "t2"), ("t1",)]
    _, notices = run([*([verdict_on_tests(*names, as_of=early)] for names in failing), [verdict_on_tests(as_of=end)]])
    assert notices == [
        [("start", "dbt_tests:t1")],
        [("start", "dbt_tests:t2")],
        [("recovery", "dbt_tests:t2")],
        [("recovery", "dbt_tests:t1")],
    ]


def test_notice_ids_differ() -> None:
    state, _ = run([[verdict("breached")], [verdict("ok")], [verdict("breached")]])
    assert len({notice.id for notice in state.outbox}) == 3


outcomes = st.lists(st.sampled_from(["ok", "breached", "unknown"]), max_size=40)


@given(outcomes)
def test_starts_and_recoveries_alternate(sequence: list[Outcome]) -> None:
    state, notices = run([[verdict(outcome)] for outcome in sequence])
    kinds = [kind for new in notices for kind, _ in new if kind != "reminder"]
    assert kinds == ["start", "recovery"] * (len(kinds) // 2) + ["start"] * (len(kinds) % 2)
    known = [outcome for outcome in sequence if outcome != "unknown"]
    assert bool(state.open) == (bool(known) and known[-1] == "breached")


# --- alerts of failure callbacks


def test_older_facts_do_not_end_an_alert_of_a_callback() -> None:
    state = raised(alert("dbt_tests:t1", "dbt_tests"))
    before, after = (verdict_on_tests(as_of=NOW + offset) for offset in (-timedelta(minutes=1), timedelta(minutes=1)))
    _, notices = run([[before], [after]], state, NOW + INTERVAL)
    assert notices == [[], [("recovery", "dbt_tests:t1")]]


def test_the_monitor_does_not_repeat_a_notice_of_a_callback() -> None:
    state = raised(alert("dbt_tests:t1", "dbt_tests"))
    _, notices = run([[verdict_on_tests("t1", as_of=NOW + INTERVAL)]], state, NOW + INTERVAL)
    assert notices == [[]]


def test_a_callback_does_not_repeat_its_own_notice() -> None:
    state = raised(alert("dbt_tests:t1", "dbt_tests"))
    _, new = transitions.raise_alerts(state, [alert("dbt_tests:t1", "dbt_tests")], NOW + INTERVAL, REMINDER)
    assert new == []


def test_an_alert_ends_once() -> None:
    state = raised(alert("task_failed:d/t", "task_failed"))
    state, new = transitions.end_alerts(state, ["task_failed:d/t", "task_failed:d/other"], NOW + INTERVAL)
    assert [notice.kind for notice in new] == ["recovery"]
    assert transitions.end_alerts(state, ["task_failed:d/t"], NOW + INTERVAL)[1] == []


def test_an_alert_of_a_failed_task_is_over_when_the_task_succeeds() -> None:
    state = raised(alert("dbt_tests:t1", "dbt_tests", "d/t", successes=3))
    state, notices = run([[verdict_on_tests(as_of=NOW + INTERVAL)]], state, NOW + INTERVAL)
    assert notices == [[]]  # no layer's state has the tests across layers
    assert transitions.count_successes(state, {("d/t", ""): 3})[1] == []
    assert transitions.count_successes(state, {})[1] == []
    assert transitions.count_successes(state, {("d/t", ""): 4})[1] == ["dbt_tests:t1"]


@pytest.mark.parametrize("known", [None, 9])
def test_a_count_that_is_new_or_smaller_is_noted_and_ends_no_alert(known: int | None) -> None:
    state = raised(alert("task_failed:d/t", "task_failed", "d/t", known))
    state, over = transitions.count_successes(state, {("d/t", ""): 5})
    assert (over, state.open["task_failed:d/t"].successes) == ([], 5)
    assert transitions.count_successes(state, {("d/t", ""): 6})[1] == ["task_failed:d/t"]


def failed(detail: str, run_url: str = "") -> OpenAlert:
    return replace(alert("task_failed:d/t", "task_failed", "d/t"), details=(detail,), run_url=run_url)


def test_another_reason_of_a_task_is_reported_the_same_one_is_not() -> None:
    state = raised(failed("TimeoutError: query 7f3a9c21e8 took 61 s", "r1"))
    state, again = transitions.raise_alerts(
        state, [failed("TimeoutError: query 11aa9c21e8 took 75 s", "r2")], NOW, REMINDER
    )
    state, other = transitions.raise_alerts(state, [failed("PermissionError: no access", "r3")], NOW, REMINDER)
    assert again == []
    assert [(notice.kind, notice.alert.details) for notice in other] == [("start", ("PermissionError: no access",))]
    assert transitions.raise_alerts(state, [failed("PermissionError: no access", "r4")], NOW, REMINDER)[1] == []
    state, _ = transitions.count_successes(state, {("d/t", ""): 1})
    assert len(transitions.count_successes(state, {("d/t", ""): 2})[1]) == 2


def test_the_end_of_a_task_failure_has_link_and_detail_of_the_same_run() -> None:
    state = raised(failed("Error: 1", "r1"))
    for number in (2, 3):
        state = raised(failed(f"Error: {number}", f"r{number}"), state=state)
    _, (end,) = transitions.end_alerts(state, ["task_failed:d/t"], NOW)
    assert (end.alert.details, end.alert.run_url) == (("Error: 3",), "r3")


def test_the_monitors_run_does_not_replace_the_link_of_the_failed_task() -> None:
    of_task = replace(alert("dbt_tests:t1", "dbt_tests", "d/t"), run_url="task")
    state, _ = transitions.advance(raised(of_task), [verdict_on_tests("t1", as_of=NOW)], NOW, REMINDER, "monitor")
    assert state.open["dbt_tests:t1"].run_url == "task"


def test_a_test_that_warns_is_an_alert_of_severity_warning() -> None:
    subjects = {"t1": Subject("line", "warning")}
    _, (start,) = transitions.advance(NO_ALERTS, [verdict("breached", "dbt_tests", subjects=subjects)], NOW, REMINDER)
    assert start.alert.severity == "warning"


def test_an_alert_that_only_a_callback_raised_gets_reminders() -> None:
    """No verdict repeats such an alert: without the reminder there would be no notice between its start and its end."""
    of_task, of_monitor = alert("task_failed:d/t", "task_failed", "d/t"), alert("kafka_lag", "kafka_lag")
    state = AlertState({of_task.key: of_task, of_monitor.key: of_monitor}, ())
    assert transitions.remind(state, NOW + REMINDER - INTERVAL, REMINDER) == (state, [])
    later, new = transitions.remind(state, NOW + REMINDER, REMINDER)
    assert [(notice.kind, notice.alert.key) for notice in new] == [("reminder", of_task.key)]
    assert transitions.remind(later, NOW + REMINDER + INTERVAL, REMINDER)[1] == []


# --- late runs


@pytest.mark.parametrize("run_state", ["queued", "running"])
def test_a_late_run_is_over_when_it_ends_well_and_not_before(run_state: str) -> None:
    state = raised(late("d/r1"))
    for others in (4, 5, 6):
        state, over = transitions.count_successes(state, {("d/t", "d/r1"): others}, {"d/r1": run_state})
        assert over == []
    assert transitions.count_successes(state, {}, {"d/r1": "success"})[1] == ["run_late:d"]


@pytest.mark.parametrize("runs", [{"d/r1": "failed"}, {}], ids=["failed", "deleted"])
def test_a_late_run_that_failed_is_over_when_another_run_works(runs: dict[str, str]) -> None:
    """The other run may also succeed before the monitor first sees the end of the late run."""
    state, _ = transitions.count_successes(raised(late("d/r1")), {("d/t", "d/r1"): 4}, {"d/r1": "running"})
    assert transitions.count_successes(state, {("d/t", "d/r1"): 4}, runs)[1] == []  # nothing was built
    assert transitions.count_successes(state, {("d/t", "d/r1"): 5}, runs)[1] == ["run_late:d"]


def test_when_a_second_run_is_late_the_alert_waits_for_that_run() -> None:
    state, _ = transitions.count_successes(raised(late("d/r1")), {("d/t", "d/r1"): 4}, {"d/r1": "failed"})
    state, new = transitions.raise_alerts(state, [late("d/r2")], NOW + INTERVAL, REMINDER)
    assert new == []
    assert state.open["run_late:d"].run_url == "http://airflow.test/d/r2"
    assert state.open["run_late:d"].since == NOW
    state, over = transitions.count_successes(state, {("d/t", "d/r2"): 4}, {"d/r2": "running"})
    assert over == []
    assert transitions.count_successes(state, {("d/t", "d/r2"): 4}, {"d/r2": "success"})[1] == ["run_late:d"]
    assert transitions.count_successes(state, {("d/t", "d/r2"): 5}, {"d/r2": "failed"})[1] == ["run_late:d"]


# --- the outbox


def test_a_claimed_notice_belongs_to_its_sender_until_the_claim_ends() -> None:
    state, _ = run([[verdict("breached")]])
    state, claimed = transitions.claim(state, NOW)
    assert [notice.attempts for notice in claimed] == [1]
    assert transitions.claim(state, NOW + transitions.CLAIM - timedelta(seconds=1))[1] == []
    assert len(transitions.claim(state, NOW + transitions.CLAIM)[1]) == 1
    assert timedelta(seconds=connections.PATIENCE_SECONDS) < transitions.CLAIM


def test_an_alert_remembers_the_mail_about_its_start() -> None:
    state, _ = run([[verdict("breached")]])
    state, (start,) = transitions.claim(state, NOW)
    state = transitions.mark_delivered(state, [start.id])
    _, (over,) = transitions.advance(state, [verdict("ok")], NOW + INTERVAL, timedelta(hours=6))
    assert (over.kind, over.alert.thread) == ("recovery", start.batch)


def test_a_refused_notice_stays_and_is_tried_again() -> None:
    state, _ = run([[verdict("breached")]])
    state, (notice,) = transitions.claim(state, NOW)
    state = transitions.mark_refused(state, [notice.id], "SMTPException: no")
    assert state.outbox[0].last_error == "SMTPException: no"
    state, (again,) = transitions.claim(state, NOW + INTERVAL)
    assert (again.id, again.attempts) == (notice.id, 2)
    assert transitions.mark_delivered(state, [notice.id]).outbox == ()


def test_a_repeated_mail_has_the_same_notices_and_the_same_id() -> None:
    state, _ = run([[verdict("breached"), verdict("breached", "dead_letters")]])
    state, first = transitions.claim(state, NOW)
    (batch,) = {notice.batch for notice in first}
    state = transitions.mark_refused(state, [notice.id for notice in first], "no answer")
    state, _ = run([[verdict("ok")]], state, NOW + INTERVAL)
    _, second = transitions.claim(state, NOW + INTERVAL)
    assert [notice.batch == batch for notice in second] == [True, True, False]


def test_attempts_become_rarer_and_stay_undelivered_meanwhile() -> None:
    state, _ = run([[verdict("breached")]])
    tried = []
    for minutes in range(0, 65, 5):
        now = NOW + timedelta(minutes=minutes)
        state, claimed = transitions.claim(state, now)
        if claimed:
            tried.append(minutes)
            state = transitions.mark_refused(state, [claimed[0].id], "no answer")
        assert len(transitions.undelivered(state, now)) == 1
    assert tried == [0, 5, 10, 25, 40, 55]


def test_a_notice_that_is_being_sent_is_not_undelivered() -> None:
    def notice(name: str, attempts: int, claimed_until: datetime | None) -> Notice:
        return Notice(name, "start", alert("kafka_lag", "kafka_lag"), NOW, attempts, claimed_until)

    outbox = (
        notice("new", 0, None),
        notice("being sent", 1, NOW + INTERVAL),
        notice("refused", 1, None),
        notice("its sender died", 1, NOW - INTERVAL),
    )
    undelivered = transitions.undelivered(AlertState({}, outbox), NOW)
    assert [notice.id for notice in undelivered] == ["refused", "its sender died"]


# --- JSON


@given(outcomes)
def test_the_state_survives_json(sequence: list[Outcome]) -> None:
    state, _ = run([[verdict(outcome)] for outcome in sequence], raised(late("d/r1")))
    state, _ = transitions.claim(state, NOW)
    text = json.dumps(msgspec.to_builtins(state))
    assert msgspec.json.decode(text, type=AlertState) == state


def test_only_an_alert_about_a_late_run_has_the_field_run() -> None:
    """Version 0.1.0 refuses a field that it does not know."""
    assert "run" not in msgspec.to_builtins(alert("a", "kafka_lag"))
    assert msgspec.to_builtins(late("d/r1"))["run"] == "d/r1"


# --- silences

SILENCED = {"kafka_lag": Silence(NOW + 3 * INTERVAL, "the broker is being replaced", "ann")}


def run_silenced(outcomes: list[Outcome], silences: Silences = SILENCED) -> tuple[AlertState, list[list[NoticeKind]]]:
    """The state after runs of the monitor, five minutes apart, and the kinds of the notices of each."""
    state, kinds = NO_ALERTS, list[list[NoticeKind]]()
    for index, outcome in enumerate(outcomes):
        now = NOW + INTERVAL * index
        state, new = transitions.advance(state, [verdict(outcome)], now, 2 * INTERVAL, silences=silences)
        kinds.append([notice.kind for notice in new])
    return state, kinds


def test_a_silenced_alert_is_open_and_not_mailed() -> None:
    state, kinds = run_silenced(["breached", "breached", "breached"])
    assert kinds == [[], [], []]
    assert state.open["kafka_lag"].silenced == "until 2026-11-23T12:15:00Z by ann: the broker is being replaced"


def test_an_alert_that_outlives_its_silence_is_mailed_once() -> None:
    _, kinds = run_silenced(["breached", "breached", "breached", "breached", "breached", "ok"])
    assert kinds == [[], [], [], ["start"], [], ["recovery"]]


def test_an_alert_that_began_and_ended_in_silence_is_never_mailed() -> None:
    assert run_silenced(["breached", "ok", "ok", "ok", "ok"])[1] == [[], [], [], [], []]


def test_an_acknowledged_alert_has_no_reminder_and_its_end_is_mailed() -> None:
    state, (start,) = transitions.advance(NO_ALERTS, [verdict("breached")], NOW - INTERVAL, 2 * INTERVAL)
    assert start.kind == "start"
    for index in range(3):
        now = NOW + INTERVAL * index
        state, new = transitions.advance(state, [verdict("breached")], now, 2 * INTERVAL, silences=SILENCED)
        assert new == []
    _, (over,) = transitions.advance(state, [verdict("ok")], NOW + 2 * INTERVAL, 2 * INTERVAL, silences=SILENCED)
    assert over.kind == "recovery"


def test_a_silence_of_one_subject_leaves_the_others_audible() -> None:
    silences = {"monitor_blind:kafka": Silence(NOW + INTERVAL, "upgrade")}
    subjects = {name: Subject("away") for name in ("kafka", "layers")}
    blind = Verdict("monitor_blind", "breached", "2", "> 0", subjects=subjects)
    _, new = transitions.advance(NO_ALERTS, [blind], NOW, REMINDER, silences=silences)
    assert [notice.alert.key for notice in new] == ["monitor_blind:layers"]
