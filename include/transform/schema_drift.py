"""Which fields bronze's new records have: the state after a look of the macro `record_fields`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec.structs import replace

from include.ingest.quote import Quote
from include.landing.codec import RESERVED_FIELDS
from include.state.record_fields import ExtraField, FieldSet, Place, RecordFields

CONTRACT = {*Quote.__struct_fields__, *RESERVED_FIELDS}
QUIET_LOADS = 3
"""An unknown field that is gone is forgotten after so many loads without it."""
MOST_FIELDS = 100
MOST_SETS = 20
SHOWN_CHARACTERS = 8
"""An example shows so many characters of a text: enough to recognise it, too few for a secret."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LookError(ValueError):
    """The text is not what the macro `record_fields` writes."""


class _Look(msgspec.Struct, frozen=True):
    """The macro's text; an entry of `sets` is [set, records, place, values, records of all sets, newest load]."""

    known: Mapping[str, str]
    sets: Sequence[tuple[str | None, str, str, str | None, str, str]]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One set of fields: the JSON type of each, the records with it, the first of them, and its values as JSON text."""

    types: Mapping[str, str]
    records: int
    first: Place
    values: Mapping[str, str]


def advance(before: RecordFields | None, text: str) -> RecordFields | None:
    """The state after a look; None if there was no record yet. Without new records only the known fields change.

    Raises:
        LookError: `text` is not of the macro.
    """
    look, entries = _read(text)
    if not look.sets:
        return before and replace(before, extra=_as_known(before.extra, look.known))
    records, until = int(look.sets[0][4]), _instant(look.sets[0][5])
    extra = dict(before.extra if before else {})
    seen = {name for entry in entries for name in entry.types if name not in CONTRACT}
    for name in extra.keys() - seen:
        field = extra[name]
        extra[name] = replace(
            field, missing_records=field.missing_records + records, missing_loads=field.missing_loads + 1
        )
    for name in seen:
        extra[name] = _seen(extra.get(name), name, entries, records, until)
    extra = {name: field for name, field in _as_known(extra, look.known).items() if not _is_forgotten(field)}
    listed = sorted(extra, key=lambda name: (not extra[name].known, -sum(extra[name].counts.values()), name))
    return RecordFields(
        until,
        records,
        _sets(entries),
        {name: extra[name] for name in listed[:MOST_FIELDS]},
        max(0, len(listed) - MOST_FIELDS),
    )


def _read(text: str) -> tuple[_Look, list[_Entry]]:
    try:
        look = msgspec.json.decode(text, type=_Look)
        return look, [_entry(types, int(records), first, values) for types, records, first, values, _, _ in look.sets]
    except (msgspec.MsgspecError, ValueError) as error:
        raise LookError(f"the fields of bronze's new records: {error}: {text[:200]!r}") from error


def _entry(types: str | None, records: int, first: str, values: str | None) -> _Entry:
    """A row of the look. A record whose fields the engine cannot list has none."""
    pairs = [pair.partition(":") for pair in msgspec.json.decode(types or "[]", type=list[str])]
    milliseconds, partition, offset = map(int, first.split("/"))
    return _Entry(
        {_printable(name): kind for kind, _, name in pairs},
        records,
        Place(_EPOCH + timedelta(milliseconds=milliseconds), partition, offset),
        {_printable(name): value for name, value in msgspec.json.decode(values or "[]", type=list[tuple[str, str]])},
    )


def _instant(text: str) -> datetime:
    """A timestamp of the warehouse, which has no zone and is UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _sets(entries: Sequence[_Entry]) -> tuple[FieldSet, ...]:
    """The sets of names, whatever the types, the most frequent first."""
    by_names: dict[tuple[str, ...], FieldSet] = {}
    for entry in entries:
        names = tuple(sorted(entry.types))
        known = by_names.get(names, FieldSet(names, 0, entry.first))
        by_names[names] = FieldSet(names, known.records + entry.records, min(known.first, entry.first))
    return tuple(sorted(by_names.values(), key=lambda one: -one.records)[:MOST_SETS])


def _seen(before: ExtraField | None, name: str, entries: Sequence[_Entry], records: int, until: datetime) -> ExtraField:
    """A field that the new records have."""
    with_it = [entry for entry in entries if name in entry.types]
    counts: Counter[str] = Counter()
    since = dict(before.since if before else {})
    for entry in with_it:
        kind = entry.types[name]
        counts[kind] += entry.records
        since[kind] = min(since.get(kind, entry.first), entry.first)
    first = min(with_it, key=lambda entry: (entry.types[name] == "null", entry.first))
    example = _example(first.types[name], first.values.get(name, ""))
    return ExtraField(since, dict(counts), records, until, example)


def _example(kind: str, value: str) -> str:
    """A value for a person, without what may be secret or long: JSON text that the macro has cut."""
    if kind in ("object", "array"):
        return f"an {kind}"
    text = _printable(value.strip('"'))
    if kind == "string" and len(text) > SHOWN_CHARACTERS:
        return f'"{text[:SHOWN_CHARACTERS]}…"'
    return f'"{text}"' if kind == "string" else text


def _as_known(extra: Mapping[str, ExtraField], known: Mapping[str, str]) -> dict[str, ExtraField]:
    return {name: replace(field, known=known.get(name, "")) for name, field in extra.items()}


def _is_forgotten(field: ExtraField) -> bool:
    return not field.known and field.is_gone and field.missing_loads >= QUIET_LOADS
