"""Whether a DAG does what its schedule promises, judged from outside its tasks. Pure: no Airflow, no clock.

A failure callback is code of the task that failed. It cannot report that its own process was killed, that a run reached
its time limit, or that nobody starts the DAG. So each run of the monitor looks at every DAG:

    remember    what was known before + the present look -> what is known now
    problems    what is known now + the present look     -> a sentence for each thing that is wrong

Runs are found by their logical date. A run that was triggered without one is only counted by Airflow, so a count of
failed runs that has grown makes the caller search for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from include.catalogue import MONITOR_SECONDS, Severity
from include.instants import Instant, span, to_second

INTERVAL = timedelta(seconds=MONITOR_SECONDS)
STARTS_WITHIN = 2 * INTERVAL
"""Airflow creates a due run within seconds; one look may come too early for it."""
WAITS_TOO_LONG = 3 * INTERVAL
"""Runs or tasks may wait this long while no task of the DAG runs: three looks of the monitor."""
LEFT_PAUSED = timedelta(days=1)
"""Airflow creates each DAG paused. A DAG that never ran may stay so for a day, until its deployment is complete."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a schedule promises at the time of a look. `limit` is the DAG's time limit of a run (`dagrun_timeout`).

    A cron expression: a run for `started` must exist, and a run that ended after `succeeded` must have succeeded. Both
    are None without one. `by_event`: a run starts when something has landed. `unread`: something has, and nothing
    forbids the start of a run; None if that is not known. `may_be_paused`: a pause is on purpose.
    """

    limit: timedelta
    started: datetime | None = None
    succeeded: datetime | None = None
    by_event: bool = False
    unread: bool | None = False
    may_be_paused: bool = False


class Run(msgspec.Struct, frozen=True):
    """One run. `state` is Airflow's word; `tasks` has the states of its tasks if the run failed."""

    run_id: str
    state: str
    run_after: Instant
    started_at: Instant | None = None
    ended_at: Instant | None = None
    tasks: Mapping[str, str | None] = {}

    def failure(self, limit: timedelta) -> str:
        """Why the run failed, by the states of its tasks."""
        failed = sorted(task for task, state in self.tasks.items() if state in {"failed", "upstream_failed"})
        first = [task for task in failed if self.tasks[task] == "failed"] or failed
        if first:
            return f"failed task: {', '.join(first)}"
        ran = self.ended_at - (self.started_at or self.run_after) if self.ended_at else timedelta()
        if ran >= limit:
            return f"no task failed: Airflow ended it after {span(ran)}, its limit is {span(limit)}"
        return f"no task failed: it was ended after {span(ran)}"


class Look(msgspec.Struct, frozen=True):
    """A DAG at one moment, as Airflow shows it.

    Airflow does not know a DAG (`known`) whose file was never parsed without an error. `newest` and `succeeded` are the
    newest runs with a logical date. `failures` are failed runs that may be new. `by_hand` are the runs without a
    logical date that ended since the last look, if one of them failed.
    `active` counts runs that have not ended, `waiting` queued runs and tasks that wait for a slot, `working` tasks that
    run.
    `remembered` is the present state of the run in `Memory.failure`, None when that is not known.
    """

    at: Instant
    paused: bool
    known: bool = True
    newest: Run | None = None
    succeeded: Run | None = None
    failures: Sequence[Run] = ()
    by_hand: Sequence[Run] = ()
    failed: int = 0
    successes: int = 0
    active: int = 0
    waiting: int = 0
    working: int = 0
    remembered: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """The newest failed run, and whether a later run (or the same one, cleared) has succeeded since."""

    run_id: str
    at: Instant
    why: str
    over: bool = False


class Memory(msgspec.Struct, frozen=True):
    """What the looks at one DAG have shown so far. Counts are those of the last look.

    `first_seen` is moved on by each time in which the monitor did not run.
    """

    first_seen: Instant
    last_seen: Instant
    failed: int
    successes: int
    succeeded_at: Instant | None = None
    busy_at: Instant | None = None
    """The last look at which a run had not ended: while one is active, Airflow starts no other."""
    unpaused_since: Instant | None = None
    paused_since: Instant | None = None
    waiting_since: Instant | None = None
    failure: Failure | None = None
    unread_since: Instant | None = None


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a DAG, and when it began. `run_id` and `run_url` are '' when no run shows it."""

    text: str
    began_at: Instant
    severity: Severity = "error"
    run_id: str = ""
    run_url: str = ""


def remember(before: Memory | None, look: Look, promise: Promise) -> Memory:
    """The memory after this look."""
    now = look.at
    last = before or Memory(now, now, look.failed, look.successes)
    gap = now - last.last_seen
    if (
        gap > WAITS_TOO_LONG
    ):  # the monitor did not run, so nothing is known about the time between, and it does not count
        last = replace(
            last, first_seen=last.first_seen + gap, unpaused_since=None, waiting_since=None, unread_since=None
        )
    waits = look.waiting > 0 and not look.working and not look.paused
    return Memory(
        first_seen=last.first_seen,
        last_seen=now,
        failed=look.failed,
        successes=look.successes,
        succeeded_at=_succeeded_at(last, look),
        busy_at=now if look.active else last.busy_at,
        unpaused_since=None if look.paused else last.unpaused_since or now,
        paused_since=(last.paused_since or now) if look.paused else None,
        waiting_since=(last.waiting_since or now) if waits else None,
        failure=_failure(last, look, promise.limit),
        unread_since=_unread_since(last, look, promise),
    )


def _succeeded_at(last: Memory, look: Look) -> datetime | None:
    """The time of the last success: by a run with a logical date, or by the count of successes."""
    dated = look.succeeded.ended_at if look.succeeded else None
    counted = look.at if look.successes > last.successes else last.succeeded_at
    return max((moment for moment in (dated, counted) if moment), default=None)


def _unread_since(last: Memory, look: Look, promise: Promise) -> datetime | None:
    """Since when files are unread that a run could read, while no run is active."""
    if look.active or look.paused or promise.unread is False:
        return None
    return last.unread_since or (look.at if promise.unread else None)


def _failure(last: Memory, look: Look, limit: timedelta) -> Failure | None:
    known = last.failure
    newest = max(look.failures, key=lambda run: run.ended_at or run.run_after, default=None)
    if newest is not None:
        at = newest.ended_at or newest.run_after
        if known is None or at > known.at:
            runs = [run for run in (look.newest, *look.by_hand) if run is not None and run.state == "success"]
            over = any(run.ended_at is not None and run.ended_at > at for run in runs)
            return Failure(newest.run_id, at, newest.failure(limit), over)
    if known is None or known.over:
        return known
    return replace(known, over=look.remembered == "success" or look.successes > last.successes)


def problems(memory: Memory, look: Look, promise: Promise) -> list[Problem]:
    """Everything that is wrong with the DAG now, the most urgent first."""
    if not look.known:
        return [Problem("Airflow does not know this DAG: look for an import error of its file", memory.first_seen)]
    found: list[Problem] = []
    failure = memory.failure
    if failure and not failure.over:
        text = f"run {failure.run_id} failed at {to_second(failure.at)}: {failure.why}"
        found.append(Problem(text, failure.at, run_id=failure.run_id))
    if look.paused:
        return [*found, *_paused(memory, look, promise)]
    if memory.waiting_since and look.at - memory.waiting_since >= WAITS_TOO_LONG:
        text = (
            f"{look.waiting} runs or tasks wait in the queue and no task runs, since {to_second(memory.waiting_since)}"
        )
        found.append(Problem(text, memory.waiting_since))
    found += _left_unread(memory, look)
    return [*found, *_not_started(memory, look, promise), *(() if found else _no_success(memory, look, promise))]


def _left_unread(memory: Memory, look: Look) -> list[Problem]:
    """Files have landed, a run may start, and nothing starts one: the trigger does not work."""
    since = memory.unread_since
    if since is None or look.at - since < WAITS_TOO_LONG:
        return []
    text = f"files have landed that no run has read, and no run starts since {to_second(since)}: look at the triggerer"
    return [Problem(text, since)]


def _not_started(memory: Memory, look: Look, promise: Promise) -> list[Problem]:
    """A due run that does not exist, although nothing prevented Airflow from starting it."""
    newest, unpaused = look.newest, memory.unpaused_since or look.at
    ended = newest.ended_at if newest else None
    idle_since = max(moment for moment in (unpaused, memory.busy_at, ended) if moment)
    if promise.started is None or promise.started <= unpaused or look.at - idle_since < STARTS_WITHIN:
        return []
    if newest and newest.run_after >= promise.started:
        return []
    was = f"the newest is of {to_second(newest.run_after)}" if newest else "it has no run"
    text = f"Airflow did not start the run that was due at {to_second(promise.started)}; {was}"
    return [Problem(text, promise.started)]


def _no_success(memory: Memory, look: Look, promise: Promise) -> list[Problem]:
    """No success for longer than the schedule and the time limit of a run explain."""
    last, unpaused = memory.succeeded_at, memory.unpaused_since or look.at
    if promise.succeeded is None or max(unpaused, last or unpaused) >= promise.succeeded:
        return []
    text = f"no run has succeeded since {to_second(last)}" if last else "no run has succeeded yet"
    return [Problem(text, last or memory.first_seen)]


def _paused(memory: Memory, look: Look, promise: Promise) -> list[Problem]:
    """A paused DAG is a problem when its schedule promises runs, or when runs wait for it."""
    since = memory.paused_since or look.at
    unused = look.newest is None and not look.successes and not look.failed
    if look.waiting:
        return [Problem(f"the DAG is paused, and {look.waiting} runs or tasks wait", since, "warning")]
    promises = promise.by_event or promise.started is not None
    if promise.may_be_paused or not promises or (unused and look.at - memory.first_seen < LEFT_PAUSED):
        return []
    return [
        Problem(f"the DAG is paused since {to_second(since)} or earlier: its schedule starts no run", since, "warning")
    ]
