"""A number's last hours as one line of characters, which every mail program, chat and terminal shows. Pure.

A drawing (SVG, an attached image) is blocked or not shown by many mail programs, and no plain text can have it.
"""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
GAP = "·"
"""A period without a number, which is not zero."""


def sparkline(values: Sequence[float | None]) -> str:
    """One character for each value, oldest first: the lowest bar is zero or the smallest value if that is negative."""
    known = [value for value in values if value is not None]
    low, high = min([0.0, *known]), max([0.0, *known])
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(GAP if value is None else BARS[round((value - low) * scale)] for value in values)
