"""Points in time and durations as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from include.instants import Instant, ago, from_text, old, span, to_second, to_text

MOMENT = datetime(2026, 11, 23, 20, 15, 7, 250113, tzinfo=UTC)


def test_a_moment_is_written_in_utc_and_read_back() -> None:
    assert to_text(MOMENT) == "2026-11-23T20:15:07.250113Z"
    assert to_text(MOMENT.astimezone(timezone(timedelta(hours=2)))) == to_text(MOMENT)
    assert to_second(MOMENT) == "2026-11-23T20:15:07Z"
    assert from_text(to_text(MOMENT)) == MOMENT


@pytest.mark.parametrize("moment", [MOMENT, MOMENT.replace(microsecond=0), MOMENT.replace(microsecond=500)])
def test_msgspec_writes_a_moment_as_to_text_does(moment: datetime) -> None:
    assert msgspec.to_builtins(moment) == to_text(moment)


def test_a_text_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        from_text("2026-11-23T20:15:07")
    with pytest.raises(ValueError, match="timezone"):
        msgspec.convert("2026-11-23T20:15:07", Instant)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.25, "4.25 s"), (119, "119 s"), (720, "12 min"), (11100, "3 h 5 min"), (187200, "2 d 4 h"), (-30, "-30 s")],
)
def test_a_span_is_written_in_two_units_at_most(seconds: float, text: str) -> None:
    assert span(seconds) == span(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "event", "data"),
    [
        (-0.00567, "now", "0 s old"),  # written while the page was made
        (0.4, "now", "0 s old"),
        (4.25, "4 s ago", "4 s old"),
        (720, "12 min ago", "12 min old"),
        (-5, "now", "0 s old"),
        (-300, "5 min ahead of this machine's clock", "5 min ahead of this machine's clock"),
    ],
)
def test_an_age_is_never_negative(seconds: float, event: str, data: str) -> None:
    assert (ago(timedelta(seconds=seconds)), old(timedelta(seconds=seconds))) == (event, data)
