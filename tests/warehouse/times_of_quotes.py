"""Times of quotes as producers write them, for tests that compare the consumer's rule with the warehouse's."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import msgspec
from hypothesis import strategies as st

from include.ingest.quote import InvalidQuoteError, validate

_QUOTE = {"id": 1, "symbol": "BTC", "name": "Bitcoin", "price": 95_000.5}


class Time(NamedTuple):
    """The parts of a text that looks like a time."""

    clock: str
    fraction: str
    zone: str

    @property
    def text(self) -> str:
        return "".join(self)

    @property
    def is_accepted(self) -> bool:
        """Whether the consumer accepts the text."""
        try:
            _last_updated(self.text)
        except InvalidQuoteError:
            return False
        return True

    @property
    def is_of_the_calendar(self) -> bool:
        """Whether the day exists, and the time does not round up to the year 10000 in microseconds."""
        try:
            date.fromisoformat(self.clock[:10])
        except ValueError:
            return False
        return not (self.clock[:10] + self.clock[11:] == "9999-12-3123:59:59" and self.fraction[1:8] >= "9999995")

    def as_accepted(self) -> datetime | None:
        """UTC, cut to the millisecond; None if the consumer refuses the text, or if its UTC time has no year.

        The consumer's decoder would round a fraction of seven digits, so it reads the time without the fraction.
        """
        try:
            _last_updated(self.text)
            whole = _last_updated(self.clock + self.zone).astimezone(UTC).replace(tzinfo=None)
        except (InvalidQuoteError, OverflowError):
            return None
        return whole + timedelta(milliseconds=int(self.fraction[1:4].ljust(3, "0")))


def _last_updated(text: str) -> datetime:
    return validate(msgspec.json.encode(_QUOTE | {"last_updated": text}), 10_000).last_updated


_DAYS = st.dates().map(str) | st.sampled_from(["2024-02-29", "2026-02-29", "0001-01-01", "9999-12-31", "0000-01-01"])
_CLOCKS = st.times().map("{:%H:%M:%S}".format) | st.sampled_from(["24:00:00", "23:59:60", "23:59:59", "00:00:00"])
_FRACTIONS = st.just("") | st.text("0123456789", min_size=1, max_size=40).map(".{}".format)
_OFFSETS = st.builds(
    "{}{:02d}{}{:02d}".format, st.sampled_from("+-"), st.integers(0, 24), st.sampled_from([":", ""]), st.integers(0, 60)
)
TIMES = st.builds(
    Time,
    st.builds("{}{}{}".format, _DAYS, st.sampled_from("TTt _"), _CLOCKS),
    _FRACTIONS,
    st.sampled_from(["Z", "z", "+01", ""]) | _OFFSETS,
)
"""The consumer accepts most of them."""
