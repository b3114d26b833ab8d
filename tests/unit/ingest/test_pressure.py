"""Memory stays bounded, polling goes on, and nothing waits for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from include.ingest.pressure import PAUSE_AFTER_SECONDS, THROTTLE_SHARE, Act, Pressure

CAP = 1000
HIGH = int(CAP * THROTTLE_SHARE)


def test_it_reads_waits_pauses_and_resumes() -> None:
    it = Pressure(CAP)
    assert it.decide(0.0, HIGH - 1, busy=True) is Act.READ
    assert it.decide(1.0, HIGH, busy=True) is Act.WAIT
    it.answered(2.0)
    assert it.decide(2.0 + PAUSE_AFTER_SECONDS, HIGH, busy=True) is Act.WAIT
    assert it.decide(2.1 + PAUSE_AFTER_SECONDS, HIGH, busy=True) is Act.PAUSE
    assert it.decide(9.0, HIGH // 2, busy=True) is Act.POLL
    assert it.decide(10.0, HIGH // 2 - 1, busy=True) is Act.RESUME
    assert it.decide(11.0, HIGH, busy=True) is Act.WAIT


def test_a_pause_ends_when_nothing_is_under_way_any_more() -> None:
    it = Pressure(CAP)
    it.decide(0.0, CAP, busy=True)
    assert it.decide(PAUSE_AFTER_SECONDS + 1, CAP, busy=True) is Act.PAUSE
    assert it.decide(PAUSE_AFTER_SECONDS + 2, CAP, busy=False) is Act.RESUME


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, CAP), st.booleans())))
def test_it_reads_only_below_the_mark_and_never_waits_long_without_an_answer(
    steps: list[tuple[float, int, bool]],
) -> None:
    it, now, waiting = Pressure(CAP), 0.0, None
    for seconds, buffered, busy in steps:
        now += seconds
        act = it.decide(now, buffered, busy=busy)
        if act is Act.READ:
            assert buffered < HIGH
        if act is Act.WAIT:
            waiting = now if waiting is None else waiting
            assert now - waiting <= PAUSE_AFTER_SECONDS
        else:
            waiting = None
        assert it.paused == (act in (Act.PAUSE, Act.POLL))
