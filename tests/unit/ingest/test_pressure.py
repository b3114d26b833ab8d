"""Memory stays bounded, polling goes on, and every wait ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from include.ingest.pressure import PAUSE_AFTER_SECONDS, THROTTLE_SHARE, Decision, Pressure

CAP = 1000
HIGH = int(CAP * THROTTLE_SHARE)


def test_it_reads_waits_pauses_and_resumes() -> None:
    pressure = Pressure(CAP)
    assert pressure.decide(0.0, HIGH - 1, busy=True) is Decision.READ
    assert pressure.decide(1.0, HIGH, busy=True) is Decision.WAIT
    pressure.answered(2.0)
    assert pressure.decide(2.0 + PAUSE_AFTER_SECONDS, HIGH, busy=True) is Decision.WAIT
    assert pressure.decide(2.1 + PAUSE_AFTER_SECONDS, HIGH, busy=True) is Decision.PAUSE
    assert pressure.decide(9.0, HIGH // 2, busy=True) is Decision.POLL
    assert pressure.decide(10.0, HIGH // 2 - 1, busy=True) is Decision.RESUME
    assert pressure.decide(11.0, HIGH, busy=True) is Decision.WAIT


def test_a_pause_ends_when_nothing_is_under_way_any_more() -> None:
    pressure = Pressure(CAP)
    pressure.decide(0.0, CAP, busy=True)
    assert pressure.decide(PAUSE_AFTER_SECONDS + 1, CAP, busy=True) is Decision.PAUSE
    assert pressure.decide(PAUSE_AFTER_SECONDS + 2, CAP, busy=False) is Decision.RESUME


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, CAP), st.booleans())))
def test_it_reads_only_below_its_limit_and_never_waits_long_for_an_answer(
    steps: list[tuple[float, int, bool]],
) -> None:
    pressure, now, waiting = Pressure(CAP), 0.0, None
    for seconds, buffered, busy in steps:
        now += seconds
        decision = pressure.decide(now, buffered, busy=busy)
        if decision is Decision.READ:
            assert buffered < HIGH
        if decision is Decision.WAIT:
            waiting = now if waiting is None else waiting
            assert now - waiting <= PAUSE_AFTER_SECONDS
        else:
            waiting = None
        assert pressure.paused == (decision in (Decision.PAUSE, Decision.POLL))
