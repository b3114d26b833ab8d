"""A drifting field in words, for mail, board and page."""

from __future__ import annotations

from include.instants import to_second
from include.state.record_fields import ExtraField, Place


def line(field: ExtraField) -> str:
    """What changed, since when, in which share of the records, with an example; without the field's name."""
    if field.is_gone:
        return f"gone: {field.missing_records:,} records came without it; last load with it {to_second(field.seen_at)}"
    share = f"in {field.share:.3g} % of {field.records:,} new records, like {field.example}"
    if field.drift == "retyped":
        wrong = ", ".join(f"{name} since {_place(field.since[name])}" for name in field.wrong_types)
        return f"{wrong}, but {field.known} is known; {share}"
    first, *later = sorted(field.since, key=field.since.__getitem__)
    others = "".join(f", also {name} since {_place(field.since[name])}" for name in later)
    return f"unknown: {first} since {_place(field.since[first])}{others}; {share}"


def _place(place: Place) -> str:
    """Like 2026-11-23T20:15:07Z (partition 2, offset 4200)."""
    return f"{to_second(place.at)} (partition {place.partition}, offset {place.offset})"
