"""What can be done to a bucket, each with the words that its finding must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import obstore
from msgspec.structs import replace

from include.landing.layout import object_key
from tests.unit.audit.landed_days import DAY, LandedDays, time_of


@dataclass(frozen=True, slots=True)
class Harm:
    """`kind` and `names` must be in one finding, also before there is a manifest unless `needs_manifest`."""

    name: str
    inflict: Callable[[LandedDays], None]
    kind: str
    names: str
    needs_manifest: bool = False
    needs_listing: bool = False
    """verify.py sees it only in a listing with metadata: a copy of the objects does not have them."""


def _delete(days: LandedDays) -> None:
    obstore.delete(days.store, days.key(DAY, 0, 20))


def _delete_in_cell_end(days: LandedDays) -> None:
    obstore.delete(days.store, days.key(DAY, 1, 26))


def _double(days: LandedDays) -> None:
    days.put(_a_second_later(20), *days.get(days.key(DAY, 0, 20)))


def _a_second_later(first: int) -> str:
    return object_key("crypto_data/", "crypto_data", 0, first, time_of(DAY, first + 1))


def _change_a_byte(days: LandedDays) -> None:
    content, metadata = days.get(days.key(DAY, 0, 10))
    days.put(days.key(DAY, 0, 10), content.replace(b'"price":12.5', b'"price":92.5'), metadata)


def _change_metadata(days: LandedDays) -> None:
    content, metadata = days.get(days.key(DAY, 0, 10))
    days.put(days.key(DAY, 0, 10), content, replace(metadata, records=9))


def _remove_a_dead_letter(days: LandedDays) -> None:
    obstore.delete(days.store, days.key(DAY, 0, 20, "dead_letter"))


def _foreign_in_the_day(days: LandedDays) -> None:
    days.put("crypto_data/2026/11/23/notes.json", b"[]", None)


def _foreign_beside_the_days(days: LandedDays) -> None:
    days.put("crypto_data/2026/export.json", b"[]", None)


def _misfile_a_second(days: LandedDays) -> None:
    days.move(days.key(DAY, 0, 26), _a_second_later(26))


def _misfile_to_another_day(days: LandedDays) -> None:
    days.move(days.key(DAY, 0, 26), days.key(DAY - timedelta(days=1), 0, 26))


def _lose_a_line(days: LandedDays) -> None:
    content, metadata = days.get(days.key(DAY, 0, 10))
    lines = content.split(b"\n")
    days.put(days.key(DAY, 0, 10), b"\n".join([*lines[:4], *lines[5:]]), metadata)


def _truncate(days: LandedDays) -> None:
    content, metadata = days.get(days.key(DAY, 0, 10))
    days.put(days.key(DAY, 0, 10), content[: len(content) // 2], metadata)


def _swap_contents(days: LandedDays) -> None:
    one, other = days.key(DAY, 0, 10), days.key(DAY, 1, 10)
    (first, its), (second, others) = days.get(one), days.get(other)
    days.put(one, second, its)
    days.put(other, first, others)


def _remove_the_data_of_dead_letters(days: LandedDays) -> None:
    obstore.delete(days.store, days.key(DAY, 1, 45))


def _remove_a_gap_row(days: LandedDays) -> None:
    obstore.delete(days.store, days.key(DAY, 1, 40, "dead_letter"))


HARMS = (
    Harm("an object is deleted", _delete, "missing", "p00000_o00000000000000000020", needs_manifest=True),
    Harm("an object is deleted before the audit", _delete_in_cell_end, "hole", "26"),
    Harm("an object is doubled under another key", _double, "doubled", _a_second_later(20)),
    Harm("a byte is changed", _change_a_byte, "altered", "p00000_o00000000000000000010", needs_manifest=True),
    Harm("metadata are changed", _change_metadata, "broken", "o00000000000000000010", needs_listing=True),
    Harm("a dead letter is removed", _remove_a_dead_letter, "missing", "p00000_o00000000000000000020"),
    Harm("a foreign object is in the day", _foreign_in_the_day, "foreign", "crypto_data/2026/11/23/notes.json"),
    Harm("a foreign object is beside the days", _foreign_beside_the_days, "foreign", "crypto_data/2026/export.json"),
    Harm("an object has another second in its name", _misfile_a_second, "misfiled", _a_second_later(26)),
    Harm("an object is in another day's folder", _misfile_to_another_day, "misfiled", "2026/11/22"),
    Harm("a line is lost in an object", _lose_a_line, "broken", "o00000000000000000010"),
    Harm("an object is truncated", _truncate, "broken", "o00000000000000000010"),
    Harm("two objects have swapped contents", _swap_contents, "misfiled", "rows of another partition"),
    Harm("the data object of dead letters is removed", _remove_the_data_of_dead_letters, "missing", "45"),
    Harm("a gap row is removed", _remove_a_gap_row, "hole", "40"),
)
