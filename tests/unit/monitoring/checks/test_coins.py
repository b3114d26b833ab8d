"""Which coins are silent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.monitoring.checks.coins import CoinArrival, Pace, Watched, arrivals, usual_interval, watch

BEGIN = datetime(2026, 11, 25, 12, tzinfo=UTC)
TICK = timedelta(minutes=5)
PACE = Pace(60.0, 60.0)
"""The producer's interval and a batch's age: their defaults."""


def every(seconds: float, since: datetime, until: datetime) -> list[datetime]:
    count = int((until - since).total_seconds() // seconds) + 1
    return [since + number * timedelta(seconds=seconds) for number in range(count)] if until >= since else []


def feed(
    sent: Callable[[datetime], dict[str, list[datetime]]],
    ticks: int,
    begin: datetime = BEGIN,
    fixed: float | None = None,
) -> list[dict[str, CoinArrival]]:
    """The coins at each of `ticks` looks; `sent` has the quotes until a moment. The last hour's are read."""
    known: dict[str, Watched] = {}
    looks = []
    for number in range(ticks):
        now = begin + number * TICK
        landed = {coin: [at for at in times if at > now - 12 * TICK] for coin, times in sent(now).items()}
        known = watch(known, landed, ["BTC", "XRP"], now, PACE)
        looks.append(arrivals(known, fixed, PACE))
    return looks


def silent(looks: list[dict[str, CoinArrival]], coin: str = "XRP") -> list[bool]:
    return [look[coin].silent for look in looks]


def test_a_coin_that_stops_is_silent_within_two_looks() -> None:
    stops = BEGIN + timedelta(minutes=31)

    def sent(now: datetime) -> dict[str, list[datetime]]:
        return {"BTC": every(60, BEGIN, now), "XRP": every(60, BEGIN, min(now, stops))}

    looks = feed(sent, 12)
    assert silent(looks) == [False] * 7 + [False] + [True] * 4  # 12:40 is the second look after 12:31
    assert silent(looks, "BTC") == [False] * 12
    report = looks[8]["XRP"].report()
    assert report == (
        "no quote within the allowed 4 min; the newest one arrived at 2026-11-25T12:31:00Z; usual is one in 60 s"
    )


@pytest.mark.parametrize("minutes", [3, 5, 8])
def test_a_slow_source_is_not_silent(minutes: int) -> None:
    looks = feed(lambda now: {"BTC": every(60 * minutes, BEGIN, now), "XRP": every(60 * minutes, BEGIN, now)}, 60)
    assert not any(silent(looks))
    assert looks[-1]["XRP"].limit >= 3 * minutes * 60


def test_a_source_whose_quotes_often_do_not_change_is_not_silent() -> None:
    """The producer sends only changed quotes: here one to four minutes apart."""
    steps = [60, 180, 60, 240, 120] * 40
    times = [BEGIN + timedelta(seconds=sum(steps[:number])) for number in range(len(steps))]
    looks = feed(lambda now: {"BTC": every(60, BEGIN, now), "XRP": [at for at in times if at <= now]}, 60)
    assert not any(silent(looks))


def test_a_history_that_is_sent_at_once_says_nothing_about_the_pace() -> None:
    history = [BEGIN] * 2880

    def sent(now: datetime) -> dict[str, list[datetime]]:
        return {coin: [*history, *every(300, BEGIN + timedelta(minutes=4), now)] for coin in ("BTC", "XRP")}

    assert not any(silent(feed(sent, 40)))


def test_a_fast_topic_read_for_seconds_has_the_producers_pace() -> None:
    def sent(now: datetime) -> dict[str, list[datetime]]:
        newest = min(now, BEGIN + timedelta(minutes=30))
        return {coin: every(1, newest - timedelta(seconds=5), newest) for coin in ("BTC", "XRP")}

    looks = feed(sent, 12)
    assert looks[5]["XRP"].limit == 3 * PACE.least + PACE.landing
    assert silent(looks) == [False] * 7 + [True] * 5


def test_only_the_first_look_after_a_start_is_blind() -> None:
    """The feed has stopped before the laptop was closed for the night, and is still stopped in the morning."""
    evening, morning = feed(lambda now: {"XRP": every(60, BEGIN, now)}, 3), BEGIN + timedelta(hours=10)
    known = {"XRP": Watched(BEGIN, BEGIN + 2 * TICK, BEGIN + 2 * TICK, 60.0)}
    assert evening[0]["XRP"].known is False
    known = watch(known, {}, ["XRP"], morning, PACE)
    assert arrivals(known, None, PACE)["XRP"].known is False
    known = watch(known, {}, ["XRP"], morning + TICK, PACE)
    assert arrivals(known, None, PACE)["XRP"].silent


def test_a_coin_that_never_came_is_compared_with_the_others() -> None:
    looks = feed(lambda now: {"BTC": every(60, BEGIN, now)}, 4)
    assert silent(looks) == [False, True, True, True]
    assert "none has arrived yet" in looks[1]["XRP"].report()


def test_nothing_at_all_is_silence_after_ten_minutes() -> None:
    assert silent(feed(lambda _: {}, 4)) == [False, False, False, True]


@pytest.mark.parametrize(("fixed", "expected"), [(30.0, True), (900.0, False)])
def test_the_set_interval_replaces_the_learned_one(fixed: float, expected: bool) -> None:
    stops = BEGIN + timedelta(minutes=20)
    looks = feed(lambda now: {"XRP": every(60, BEGIN, min(now, stops))}, 8, fixed=fixed)
    assert silent(looks)[-1] is expected


def test_one_pause_does_not_raise_the_usual_interval() -> None:
    times = [*every(60, BEGIN, BEGIN + 4 * TICK), *every(60, BEGIN + 10 * TICK, BEGIN + 11 * TICK)]
    assert usual_interval(times, 60) == 60
    assert usual_interval(times[:2], 60) is None


@given(
    interval=st.sampled_from([60, 120, 300]), phase=st.integers(0, 299), before=st.integers(60, 120),
    restart=st.booleans(),
)  # fmt: skip
def test_silence_is_told_within_two_looks_and_never_before(
    interval: int, phase: int, before: int, restart: bool
) -> None:
    """Whenever a coin stops: three of its intervals, then at most two looks. A restart begins to count again."""
    stops = BEGIN + timedelta(minutes=before, seconds=phase)
    times = every(interval, BEGIN, stops)
    limit = timedelta(seconds=3 * interval + PACE.landing)
    allowed = times[-1] + limit
    told: list[datetime] = []
    looks: list[datetime] = []
    known: dict[str, Watched] = {}
    for number in range(60):
        now = BEGIN + number * TICK
        if restart and number > 0 and stops <= now < stops + 4 * TICK:
            continue  # the monitor is away for four looks
        looks.append(now)
        landed = {"XRP": [at for at in times if now - 12 * TICK < at <= now]}
        known = watch(known, landed, ["XRP"], now, PACE)
        if arrivals(known, None, PACE)["XRP"].silent:
            told.append(now)
    back = next(look for look in looks if look >= stops + 4 * TICK)
    assert allowed < told[0] <= (back + limit if restart else allowed) + 2 * TICK
    assert told[-1] == BEGIN + 59 * TICK  # and it does not end by itself


def test_the_limit_itself_is_not_silence() -> None:
    at = BEGIN + timedelta(seconds=3 * 60 + 60)
    for later, silent in ((timedelta(), False), (timedelta(seconds=1), True)):
        known = {"XRP": Watched(BEGIN, BEGIN, BEGIN, 60.0)}
        known = watch(known, {}, ["XRP"], at + later, PACE)
        assert arrivals(known, None, PACE)["XRP"].silent is silent


@pytest.mark.parametrize(("away", "judged"), [(TICK * 3, True), (TICK * 3 + timedelta(seconds=1), False)])
def test_a_short_pause_of_the_monitor_is_no_start(away: timedelta, judged: bool) -> None:
    known = {"XRP": Watched(BEGIN - TICK, BEGIN, BEGIN, 60.0)}
    known = watch(known, {}, ["XRP"], BEGIN + away, PACE)
    assert arrivals(known, None, PACE)["XRP"].known is judged
    assert arrivals(known, None, PACE)["XRP"].silent is judged


def test_with_a_set_interval_only_the_first_look_of_all_is_blind() -> None:
    looks = feed(lambda _: {}, 4, fixed=60.0)
    assert silent(looks) == [False, True, True, True]
    assert [look["XRP"].known for look in looks] == [False, True, True, True]


def test_silence_ends_at_the_first_look_with_a_quote() -> None:
    pause = BEGIN + timedelta(minutes=30), BEGIN + timedelta(minutes=51)
    times = [*every(60, BEGIN, pause[0]), *every(60, pause[1], BEGIN + timedelta(minutes=90))]
    looks = feed(lambda now: {"BTC": every(60, BEGIN, now), "XRP": [at for at in times if at <= now]}, 16)
    assert silent(looks) == [False] * 7 + [True] * 4 + [False] * 5
