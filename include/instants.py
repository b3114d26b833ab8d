"""Points in time as text (ISO 8601, UTC, ending in Z) and durations in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A point in time in a state object; msgspec writes it as `to_text` does and refuses a text without a zone."""


def to_text(moment: datetime) -> str:
    """Like 2026-11-23T20:15:07Z (microseconds only when there are any)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_second(moment: datetime) -> str:
    """Like `to_text`, but without microseconds, for a person."""
    return to_text(moment.replace(microsecond=0))


def from_text(text: str) -> datetime:
    """The inverse of `to_text`; a text without a zone is refused, because a guess may be wrong by hours.

    Raises:
        ValueError: not ISO 8601, or without a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone: write it like 2026-11-23T20:15:07Z")
    return moment.astimezone(UTC)


def span(duration: timedelta | float) -> str:
    """A duration as a short text for a person: 45 s, 12 min, 3 h 5 min, 2 d 4 h."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 120:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


CLOCK_SKEW = timedelta(seconds=5)
"""A time that is at most this far ahead counts as now: it was written while a page was made, or by another clock."""


def ago(age: timedelta) -> str:
    """The age of an event for a person: now, 45 s ago, 12 min ago. An event ahead of this clock has no negative age."""
    if age < -CLOCK_SKEW:
        return f"{span(round(-age.total_seconds()))} ahead of this machine's clock"
    seconds = round(age.total_seconds())
    return f"{span(seconds)} ago" if seconds > 0 else "now"


def old(age: timedelta) -> str:
    """The age of data for a person: 12 min old, or how far it is ahead of this clock."""
    return f"{span(max(round(age.total_seconds()), 0))} old" if age >= -CLOCK_SKEW else ago(age)
