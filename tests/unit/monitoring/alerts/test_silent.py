"""The monitor's silence, judged outside of Airflow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from include.catalogue import CONDITIONS, MONITOR_SILENT_AFTER
from include.monitoring.alerts import transitions
from include.monitoring.alerts.model import NO_ALERTS, OpenAlert
from include.monitoring.alerts.silent import LONGEST_GAP, Watch, alert_of, raise_alone
from include.monitoring.checks.judge import Verdict
from include.state.silences import Silence

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REMINDER = timedelta(hours=6)
RUNS = Verdict("monitor_silent", "ok", "", "")
STOPPED = {"airflow-scheduler": "STOPPED"}


def watched(minutes: float) -> Watch:
    """A watch that began so long ago and has looked every minute since."""
    return Watch(NOW - minutes * MINUTE, NOW)


def silent(judged_minutes_ago: float = 20) -> OpenAlert:
    alert = alert_of(NOW - judged_minutes_ago * MINUTE, watched(60), STOPPED)
    assert alert is not None
    return alert


@pytest.mark.parametrize(
    ("judged_minutes_ago", "watched_minutes", "is_silent"),
    [
        (4, 60, False),
        (14.9, 60, False),
        (15, 60, True),
        (None, 14, False),  # the first minutes of a new demo
        (None, 15, True),
        (600, 14, False),  # a demo that was started again after hours of rest
        (600, 15, True),
        (-1, 60, False),  # the clock was set back
    ],
)
def test_silence_counts_from_the_last_run_and_from_the_begin_of_the_watch(
    judged_minutes_ago: float | None, watched_minutes: float, is_silent: bool
) -> None:
    judged_at = None if judged_minutes_ago is None else NOW - judged_minutes_ago * MINUTE
    assert (alert_of(judged_at, watched(watched_minutes), STOPPED) is not None) is is_silent


def test_the_limit_is_that_of_the_catalogue() -> None:
    condition = CONDITIONS["monitor_silent"]
    assert (condition.missing, condition.periods * 5 * MINUTE) == ("breaching", MONITOR_SILENT_AFTER)


def test_a_machine_that_slept_has_not_watched() -> None:
    before = watched(60)
    assert before.at(NOW + MINUTE) == Watch(before.since, NOW + MINUTE)
    woken = NOW + LONGEST_GAP + MINUTE
    assert before.at(woken) == Watch(woken, woken)


def test_the_alert_says_since_when_and_what_does_not_run() -> None:
    alert = silent(17)
    assert (alert.begin_at, alert.since) == (NOW - 17 * MINUTE, NOW)
    assert (alert.value, alert.limit) == ("no run for 17 min", "no run for 15 min")
    assert alert.details == (
        "does not run: airflow-scheduler (STOPPED)",
        "last run that judged: 2026-11-30T11:43:00Z",
    )


def test_without_a_stopped_program_the_alert_names_the_other_reasons() -> None:
    alert = alert_of(None, watched(20), {})
    assert alert is not None
    assert "pipeline_monitor is paused" in alert.details[0]
    assert alert.details[1] == "no run has judged yet"


def test_there_is_one_mail_at_the_start_and_one_at_the_end() -> None:
    state, start = raise_alone(NO_ALERTS, silent(), NOW, REMINDER, {})
    state, later = raise_alone(state, replace(silent(), value="no run for 21 min"), NOW + MINUTE, REMINDER, {})
    assert state.open["monitor_silent"].value == "no run for 21 min"
    state, end = transitions.advance(state, [RUNS], NOW + 2 * MINUTE, REMINDER)
    assert [notice.kind for notice in (*start, *later, *end)] == ["start", "recovery"]
    assert not state.open


def test_a_long_silence_is_reminded_of() -> None:
    state, _ = raise_alone(NO_ALERTS, silent(), NOW, REMINDER, {})
    _, (notice,) = raise_alone(state, silent(), NOW + REMINDER, REMINDER, {})
    assert notice.kind == "reminder"


def test_a_silenced_condition_is_not_mailed() -> None:
    silences = {"monitor_silent": Silence(NOW + MINUTE, "maintenance")}
    state, notices = raise_alone(NO_ALERTS, silent(), NOW, REMINDER, silences)
    assert (set(state.open), notices) == ({"monitor_silent"}, [])


def test_other_alerts_stay_as_they_are() -> None:
    """The cause of one ended long ago, so a run of the monitor would tell it; nobody knows whether it is still so."""
    lag = OpenAlert("kafka_lag", "kafka_lag", "error", "Kafka lag is high", NOW, NOW, cause="upload_errors")
    state, (notice,) = raise_alone(replace(NO_ALERTS, open={lag.key: lag}), silent(), NOW, REMINDER, {})
    assert notice.alert.key == "monitor_silent"
    assert state.open[lag.key] == lag


def test_what_is_late_after_the_silence_belongs_to_it() -> None:
    """Gold is old when the scheduler is back: that is no second incident."""
    state, _ = raise_alone(NO_ALERTS, silent(180), NOW, REMINDER, {})
    old = Verdict("stale_gold", "breached", "3 h", "> 2 h", began_at=NOW - 185 * MINUTE)
    state, (end,) = transitions.advance(state, [RUNS, old], NOW + MINUTE, REMINDER)
    assert (end.kind, end.alert.key) == ("recovery", "monitor_silent")
    assert [effect.key for effect in end.alert.effects or ()] == ["stale_gold"]
    assert state.open["stale_gold"].cause == "monitor_silent"
    state, notices = transitions.advance(state, [RUNS, old], NOW + 20 * MINUTE, REMINDER)
    assert [(notice.kind, notice.alert.key) for notice in notices] == [("start", "stale_gold")]
    assert state.open["stale_gold"].cause is UNSET
