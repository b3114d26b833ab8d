"""Whether a DAG does what its schedule promises, seen from outside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from include.monitoring.checks.dag_runs import Look, Memory, Problem, Promise, Run, problems, remember

TICK = timedelta(minutes=5)
HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 11, 25, 12, tzinfo=UTC)
BY_HAND = Promise(2 * HOUR)


def run(state: str = "success", at: datetime = BEGIN, minutes: float = 1, **tasks: str) -> Run:
    """A run that was due at `at` and ended `minutes` later."""
    return Run(f"scheduled__{at:%H:%M}", state, at, at, at + timedelta(minutes=minutes), tasks)


def hourly(now: datetime) -> Promise:
    """The promise of an hourly schedule, whose runs may take two hours."""
    due = (now - 2 * TICK).replace(minute=0)
    return Promise(2 * HOUR, due, (now - 2 * TICK - 2 * HOUR).replace(minute=0))


def watch(
    looks: list[Look], *, scheduled: bool = True, promised: Callable[[datetime], Promise] = hourly
) -> list[list[Problem]]:
    """The problems that each of the looks shows."""
    memory: Memory | None = None
    found = []
    for look in looks:
        promise = promised(look.at) if scheduled else BY_HAND
        memory = remember(memory, look, promise)
        found.append(problems(memory, look, promise))
    return found


def texts(found: list[Problem]) -> str:
    return "; ".join(problem.text for problem in found)


def looks(count: int, begin: datetime = BEGIN + TICK, **facts: Any) -> list[Look]:
    """Looks of consecutive runs of the monitor with the same facts."""
    return [Look(begin + number * TICK, **{"paused": False, **facts}) for number in range(count)]


def test_a_dag_that_runs_hourly_is_healthy_all_day() -> None:
    day = []
    for number in range(24 * 12):
        now = BEGIN + 2 * timedelta(minutes=1) + number * TICK
        newest = run(at=now.replace(minute=0))
        day.append(Look(now, paused=False, newest=newest, succeeded=newest, successes=number // 12))
    assert watch(day) == [[] for _ in day]


def test_a_failed_run_is_told_until_another_run_succeeds() -> None:
    failed = run("failed", BEGIN, build="failed", after="upstream_failed")
    again = run("success", BEGIN + HOUR)
    seen = [
        *looks(3, newest=failed, failures=[failed], failed=1),
        *looks(2, BEGIN + HOUR + TICK, newest=again, succeeded=again, failed=1, successes=1),
    ]
    found = watch(seen)
    assert [texts(each) for each in found[3:]] == ["", ""]
    (problem,) = found[0]
    assert (problem.text, problem.began_at, problem.run_id) == (
        "run scheduled__12:00 failed at 2026-11-25T12:01:00Z: failed task: build",
        BEGIN + timedelta(minutes=1),
        "scheduled__12:00",
    )


def test_a_failed_run_that_was_cleared_and_succeeds_is_over() -> None:
    failed = run("failed", build="failed")
    found = watch([*looks(1, failures=[failed], failed=1), *looks(1, BEGIN + 2 * TICK, remembered="success")])
    assert [bool(each) for each in found] == [True, False]


def test_a_failure_by_hand_before_the_schedules_success_is_over() -> None:
    failed = run("failed", BEGIN - 2 * TICK, build="failed")
    found = watch(looks(3, newest=run(), succeeded=run(), failures=[failed], failed=1, successes=1))
    assert [each for each in found if each] == []


def test_a_success_by_hand_ends_the_failure_of_the_schedules_run() -> None:
    """The newest run with a logical date is still the failed one."""
    failed = run("failed", build="failed")
    facts: dict[str, Any] = {"newest": failed, "failures": [failed], "failed": 1}
    found = watch([*looks(1, **facts), *looks(3, BEGIN + 2 * TICK, successes=1, **facts)])
    assert [bool(each) for each in found] == [True, False, False, False]


def test_a_success_by_hand_after_the_failure_in_the_same_look_is_its_end() -> None:
    """Both runs ended since the last look, and neither has a logical date."""
    failed, again = run("failed", BEGIN + TICK, build="failed"), run("success", BEGIN + 2 * TICK)
    facts: dict[str, Any] = {"failed": 1, "successes": 1, "failures": [failed]}
    for by_hand, is_told in (([failed, again], False), ([failed, run("success", BEGIN)], True)):
        found = watch([*looks(1), *looks(1, BEGIN + 3 * TICK, by_hand=by_hand, **facts)])
        assert [bool(each) for each in found] == [False, is_told]


@pytest.mark.parametrize(
    ("minutes", "says"),
    [
        (120, "no task failed: Airflow ended it after 2 h, its limit is 2 h"),
        (9, "no task failed: it was ended after 9"),
    ],
)
def test_a_run_at_its_time_limit_is_named_as_such(minutes: float, says: str) -> None:
    failed = run("failed", BEGIN - 3 * HOUR, minutes, build="skipped")
    assert says in texts(watch(looks(1, failures=[failed]))[0])


def test_a_paused_dag_is_told_as_a_warning_from_the_first_look_at_it() -> None:
    active = run()
    found = watch([*looks(1, newest=active, succeeded=active), *looks(2, BEGIN + 2 * TICK, paused=True, newest=active)])
    assert not found[0]
    for each in found[1:]:
        assert [(problem.severity, problem.began_at) for problem in each] == [("warning", BEGIN + 2 * TICK)]
    assert "paused since 2026-11-25T12:10:00Z or earlier" in texts(found[1])


def test_a_dag_that_was_never_unpaused_is_told_after_a_day() -> None:
    found = watch(looks(24 * 12 + 2, paused=True))
    assert [bool(each) for each in found] == [False] * 24 * 12 + [True] * 2


def test_a_dag_that_is_paused_on_purpose_is_not_told_unless_runs_wait() -> None:
    def on_purpose(now: datetime) -> Promise:
        return dataclasses.replace(hourly(now), may_be_paused=True)

    assert watch(looks(24 * 12 + 2, paused=True), promised=on_purpose) == [[]] * (24 * 12 + 2)
    assert watch(looks(1, paused=True, newest=run()), promised=on_purpose) == [[]]
    (told,) = watch(looks(1, paused=True, newest=run(), waiting=1), promised=on_purpose)
    assert "1 runs or tasks wait" in texts(told)


def test_the_time_without_a_monitor_does_not_count_for_an_unused_dag() -> None:
    """A demo that is stopped for the night has not been watched for a day."""
    found = watch([*looks(3, paused=True), *looks(3, BEGIN + 30 * HOUR, paused=True)])
    assert [each for each in found if each] == []


@pytest.mark.parametrize("waiting", [0, 1])
def test_a_paused_dag_without_a_schedule_is_told_when_runs_wait(waiting: int) -> None:
    (found,) = watch(looks(1, paused=True, newest=run(), waiting=waiting, active=waiting), scheduled=False)
    assert bool(found) is bool(waiting)


@pytest.mark.parametrize(("working", "told"), [(0, True), (1, False)])
def test_runs_that_wait_in_the_queue_are_told_after_three_looks(working: int, told: bool) -> None:
    found = watch(looks(4, waiting=2, active=1, working=working), scheduled=False)
    assert [bool(each) for each in found] == [False, False, False, told]
    if told:
        assert "2 runs or tasks wait in the queue and no task runs, since 2026-11-25T12:05:00Z" in texts(found[3])


def test_a_due_run_that_airflow_does_not_start_is_told() -> None:
    newest = run()
    found = watch(looks(15, newest=newest, succeeded=newest))  # until 13:15
    assert [bool(each) for each in found] == [False] * 13 + [True] * 2
    assert "did not start the run that was due at 2026-11-25T13:00:00Z; the newest is of 2026-11-25T12" in texts(
        found[-1]
    )


def test_a_run_that_takes_long_keeps_the_next_one_waiting() -> None:
    """Airflow starts no second run beside it."""
    newest = run("running")
    found = watch(looks(24, newest=newest, succeeded=run(at=BEGIN - HOUR), active=1, working=1))
    assert [each for each in found if each] == []


def test_no_success_within_schedule_and_time_limit_is_told() -> None:
    newest, last = run("running"), run(at=BEGIN - HOUR)
    found = watch(looks(60, newest=newest, succeeded=last, active=1, working=1))
    told = [number for number, each in enumerate(found) if each]
    assert BEGIN + TICK + told[0] * TICK == BEGIN + 3 * HOUR + 2 * TICK
    assert "no run has succeeded since 2026-11-25T11:01:00Z" in texts(found[told[0]])


def test_after_a_night_without_airflow_nothing_is_told_too_early() -> None:
    evening, morning = run(), BEGIN + 10 * HOUR
    found = watch([*looks(1, newest=evening, succeeded=evening), *looks(3, morning, newest=evening, succeeded=evening)])
    assert [each for each in found if each] == []


def test_a_dag_that_airflow_does_not_know_is_told() -> None:
    assert "Airflow does not know this DAG" in texts(watch(looks(1, known=False))[0])


def test_a_look_without_memory_does_not_repeat_an_older_failure() -> None:
    failed = run("failed", build="failed")
    memory = remember(None, Look(BEGIN, paused=False, failures=[failed]), BY_HAND)
    assert memory.failure is not None
    over = replace(memory, failure=replace(memory.failure, over=True))
    assert remember(over, Look(BEGIN + TICK, paused=False, failures=[failed]), BY_HAND).failure == over.failure


def by_event(seen: list[Look], unread: list[bool | None]) -> list[str]:
    """The problems that looks at a DAG show whose runs start when something has landed."""
    memory: Memory | None = None
    found = []
    for look, something in zip(seen, unread, strict=True):
        promise = Promise(2 * HOUR, by_event=True, unread=something)
        memory = remember(memory, look, promise)
        found.append(texts(problems(memory, look, promise)))
    return found


def test_an_unread_landing_that_nobody_starts_is_told_after_three_looks() -> None:
    found = by_event(looks(5), [False, True, True, True, True])
    assert found[:4] == [""] * 4
    assert found[4].startswith("files have landed that no run has read, and no run starts since 2026-11-25T12:10:00Z")


def test_a_started_run_ends_the_unread_landing() -> None:
    seen = [*looks(4), *looks(1, BEGIN + 5 * TICK, active=1), *looks(1, BEGIN + 6 * TICK)]
    assert [bool(text) for text in by_event(seen, [True] * 6)] == [False, False, False, True, False, False]


def test_while_s3_is_away_an_unread_landing_is_remembered() -> None:
    assert [bool(text) for text in by_event(looks(4), [True, None, None, None])] == [False, False, False, True]


def test_s3_that_was_never_read_shows_no_unread_landing() -> None:
    assert by_event(looks(5), [None] * 5) == [""] * 5


def test_an_idle_dag_that_starts_by_an_event_is_healthy() -> None:
    assert by_event(looks(600), [False] * 600) == [""] * 600


def test_a_paused_dag_that_starts_by_an_event_is_a_warning() -> None:
    newest = run()
    found = by_event(looks(2, paused=True, newest=newest, succeeded=newest, successes=1), [True, True])
    assert all(text.startswith("the DAG is paused since") for text in found)
