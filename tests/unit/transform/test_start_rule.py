"""When a run of the transform may start: 1,000 histories of landings, runs, failures and restarts, and single rules."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest

from include.transform.start_rule import DAY, KEPT, LONGEST_WAIT, Start, StartRule, Starts, with_start

BEGIN = datetime(2026, 11, 25, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def minutes(*moments: float) -> Starts:
    """Starts at these minutes after BEGIN."""
    return {str(number): Start(BEGIN + moment * MINUTE) for number, moment in enumerate(moments)}


@dataclass
class History:
    """A trigger that polls, and runs that take, fail or are killed. A restart keeps only the text of the starts."""

    random: random.Random
    rule: StartRule
    now: datetime = BEGIN
    landed: int = 0
    taken: int = 0
    taken_at: datetime | None = None
    starts: Starts = field(default_factory=dict)
    ends_at: datetime | None = None
    offered: int = 0
    fails: bool = False
    by_event: list[datetime] = field(default_factory=list)
    all_starts: list[datetime] = field(default_factory=list)
    waited: timedelta = timedelta()

    def live(self, duration: timedelta, load: float, faults: float) -> None:
        """Poll until `duration` is over. `load` is the chance of a landing at a poll, `faults` that of a failure."""
        end = self.now + duration
        while self.now < end:
            away = self.random.random() < faults * 0.05  # the triggerer restarts
            self.now += (
                self.random.choice([5, 30]) * MINUTE if away else timedelta(seconds=self.random.uniform(20, 180))
            )
            if away:
                self.starts = msgspec.json.decode(msgspec.json.encode(self.starts), type=Starts)
            self.landed += self.random.randint(1, 5) if self.random.random() < load else 0
            self._end_run()
            self._poll(faults)
            if self.random.random() < faults * 0.01:
                self._start(faults, "manual")

    def _poll(self, faults: float) -> None:
        if self.ends_at is None and self.landed > self.taken:
            not_before = self.rule.not_before(self.starts, self.taken_at, self.now)
            self.waited = max(self.waited, not_before - self.now)
            if not_before <= self.now:
                self._start(faults, "asset_triggered")
                self.by_event.append(self.now)

    def _start(self, faults: float, kind: str) -> None:
        if self.ends_at is not None:
            return
        self.starts = with_start(self.starts, f"{kind}__{self.now}", Start(self.now))
        self.all_starts.append(self.now)
        self.offered, self.fails = self.landed, self.random.random() < faults
        self.ends_at = self.now + self.random.choice([0.3, 0.5, 2, 20]) * MINUTE

    def _end_run(self) -> None:
        if self.ends_at is not None and self.ends_at <= self.now:
            if not self.fails:
                self.taken, self.taken_at = self.offered, self.all_starts[-1]
            self.ends_at = None


@pytest.mark.parametrize("block", range(10))
def test_a_thousand_histories_keep_floor_and_ceiling(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        chance = random.Random(seed)
        rule = StartRule(chance.choice([0.02, 1, 5, 15, 60]) * MINUTE, chance.choice([1, 3, 24, 96, 500]))
        history = History(chance, rule)
        for _ in range(4):
            hours, faults = chance.uniform(0.5, 3), chance.choice([0, 0.3])
            history.live(hours * timedelta(hours=1), chance.choice([0, 0.02, 0.9]), faults)
        history.live(DAY + timedelta(hours=2), 0, 0)
        assert history.taken == history.landed, f"seed {seed}: {history.landed - history.taken} files are stranded"
        gaps = {after: after - before for before, after in pairwise(history.all_starts)}
        assert all(gaps.get(start, DAY) >= rule.floor for start in history.by_event), f"seed {seed}: floor"
        number = Counter[date]()
        for start in history.all_starts:
            number[start.date()] += 1
            assert start not in history.by_event or number[start.date()] <= rule.runs_a_day, f"seed {seed}: ceiling"
        by_hand = len(history.all_starts) > len(history.by_event)
        bound = DAY if by_hand else max(LONGEST_WAIT, rule.floor, min(2 * DAY / rule.runs_a_day, DAY))
        assert history.waited <= bound, f"seed {seed}: {history.waited}"


@pytest.mark.parametrize("seed", range(20))
def test_an_idle_pipeline_starts_nothing(seed: int) -> None:
    history = History(random.Random(seed), StartRule(MINUTE, 96))
    history.live(timedelta(hours=1), 0.5, 0)
    history.live(timedelta(hours=1), 0, 0)
    done = len(history.by_event)
    history.live(timedelta(hours=10), 0, 0)
    assert (history.taken, len(history.by_event)) == (history.landed, done)


def test_the_first_landing_starts_a_run_at_once() -> None:
    assert StartRule(15 * MINUTE, 96).not_before({}, None, BEGIN) == BEGIN


def test_the_floor_is_counted_from_the_start_of_the_last_run() -> None:
    now = BEGIN + 10 * MINUTE
    assert StartRule(15 * MINUTE, 96).not_before(minutes(0, 8), BEGIN + 8 * MINUTE, now) == BEGIN + 23 * MINUTE


def test_a_failed_run_is_offered_again_after_the_floor() -> None:
    assert StartRule(5 * MINUTE, 96).not_before(minutes(0), None, BEGIN + MINUTE) == BEGIN + 5 * MINUTE


@pytest.mark.parametrize(("failures", "wait"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (40, 60)])
def test_each_further_failure_doubles_the_wait_up_to_an_hour(failures: int, wait: float) -> None:
    last = failures * 0.01
    starts = minutes(*(number * 0.01 for number in range(1, failures + 1)))
    not_before = StartRule(5 * MINUTE, 500).not_before(starts, BEGIN, BEGIN + MINUTE)
    assert not_before == BEGIN + (last + wait) * MINUTE


def test_a_run_of_a_selection_counts_as_no_failure() -> None:
    starts = {"a": Start(BEGIN), "b": Start(BEGIN + MINUTE, offers=False), "c": Start(BEGIN + 2 * MINUTE, offers=False)}
    assert StartRule(5 * MINUTE, 96).not_before(starts, BEGIN, BEGIN + 2 * MINUTE) == BEGIN + 7 * MINUTE


def test_the_default_pace_is_that_of_a_cron_of_15_minutes() -> None:
    """At a steady flow neither half of the day is slower than the other."""
    starts: Starts = {}
    rule, now = StartRule(15 * MINUTE, 96), BEGIN.replace(hour=0)
    for number in range(192):
        now = rule.not_before(starts, now, now)
        assert now == BEGIN.replace(hour=0) + number * 15 * MINUTE
        starts = with_start(starts, str(number), Start(now))


def test_a_start_that_a_fast_clock_dated_delays_nothing() -> None:
    assert StartRule(15 * MINUTE, 96).not_before(minutes(600), None, BEGIN) == BEGIN


def test_starts_older_than_two_days_are_forgotten() -> None:
    starts = with_start({"old": Start(BEGIN - KEPT), "young": Start(BEGIN - KEPT + MINUTE)}, "new", Start(BEGIN))
    assert set(starts) == {"young", "new"}
