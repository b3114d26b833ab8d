"""The state of the records' fields after each load: what is new, retyped or gone, and when that is over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from include.monitoring.checks import drift
from include.state.record_fields import RecordFields
from include.transform.schema_drift import MOST_FIELDS, LookError, advance

START = datetime(2026, 11, 23, 20, tzinfo=UTC)
CONTRACT = {"id": 1, "symbol": "BTC", "name": "Bitcoin", "price": 1.5, "last_updated": "t", "_topic": "q", "_offset": 7}
TYPES = {int: "number", float: "number", str: "string", bool: "boolean", list: "array", dict: "object"}


def typed(record: dict[str, Any]) -> list[str]:
    """The set of a record, as the macro writes it."""
    return sorted(f"{TYPES.get(type(value), 'null')}:{name}" for name, value in record.items())


class Loads:
    """Loads of bronze, one after the other; each record is (number of such records, extra fields)."""

    def __init__(self) -> None:
        self.state: RecordFields | None = None
        self.number = 0
        self.known: dict[str, str] = {}

    def look(self, *records: tuple[int, dict[str, Any]]) -> RecordFields:
        """The state after a load."""
        self.number += 1
        total = sum(count for count, _ in records)
        at = START + timedelta(hours=self.number)
        sets = [
            [
                json.dumps(typed(CONTRACT | extra)),
                str(count),
                f"{int(at.timestamp() * 1000) + place:015d}/{2:010d}/{100 * self.number + place:019d}",
                json.dumps([[name, json.dumps(value)[:40]] for name, value in (CONTRACT | extra).items()]),
                str(total),
                f"{at.replace(tzinfo=None)}",
            ]
            for place, (count, extra) in enumerate(records)
        ]  # fmt: skip
        self.state = advance(self.state, json.dumps({"known": self.known, "sets": sets}))
        assert self.state is not None
        return self.state

    def drift(self, *records: tuple[int, dict[str, Any]]) -> dict[str, str | None]:
        """The kind of drift of each field after a load."""
        return {name: field.drift for name, field in self.look(*records).drifting.items()}


def test_the_fields_of_the_contract_are_no_drift() -> None:
    state = Loads().look((30, {}))
    assert (state.extra, state.records, state.sets[0].fields) == ({}, 30, tuple(sorted(CONTRACT)))
    assert state.loaded_until == START + timedelta(hours=1)


def test_a_new_field_is_named_with_first_record_share_and_example() -> None:
    state = Loads().look((30, {}), (10, {"rank": 7}))
    field = state.drifting["rank"]
    assert (field.drift, field.share, field.began_at) == ("new", 25, START + timedelta(hours=1, milliseconds=1))
    assert drift.line(field) == (
        "unknown: number since 2026-11-23T21:00:00Z (partition 2, offset 101); in 25 % of 40 new records, like 7"
    )
    assert [(names.records, "rank" in names.fields) for names in state.sets] == [(30, False), (10, True)]


def test_a_known_field_is_no_drift_from_the_next_run_on() -> None:
    loads = Loads()
    assert loads.drift((30, {"rank": 7})) == {"rank": "new"}
    loads.known = {"rank": "number"}
    assert loads.drift() == {}  # a run without new records
    assert loads.drift((30, {"rank": 8}), (1, {"rank": None})) == {}


def test_a_known_field_with_another_type_is_named_until_the_type_is_right() -> None:
    loads = Loads()
    loads.known = {"rank": "number"}
    assert loads.drift((30, {"rank": 7})) == {}
    assert loads.drift((10, {"rank": 7}), (20, {"rank": "first of all coins"})) == {"rank": "retyped"}
    assert loads.state is not None
    field = loads.state.extra["rank"]
    assert field.began_at == START + timedelta(hours=2, milliseconds=1)
    since = "string since 2026-11-23T22:00:00Z (partition 2, offset 201), but number is known"
    assert drift.line(field).startswith(since)
    assert loads.drift((30, {"rank": 8})) == {}
    loads.known = {"rank": "any"}
    assert loads.drift((30, {"rank": [1]})) == {}


def test_an_unknown_field_that_changes_its_type_says_so() -> None:
    loads = Loads()
    loads.look((30, {"rank": 7}))
    field = loads.look((30, {"rank": "first"})).drifting["rank"]
    assert "number since 2026-11-23T21:00:00Z (partition 2, offset 100), also string since 2026-11-23T22" in drift.line(
        field
    )


def test_a_renamed_field_is_a_new_one_and_one_that_is_gone() -> None:
    loads = Loads()
    loads.known = {"volume": "number"}
    loads.look((30, {"volume": 7}))
    assert loads.drift((30, {"vol": 7})) == {"vol": "new", "volume": "vanished"}
    assert loads.state is not None
    assert drift.line(loads.state.extra["volume"]) == (
        "gone: 30 records came without it; last load with it 2026-11-23T21:00:00Z"
    )
    assert loads.drift((30, {"vol": 7, "volume": 7})) == {"vol": "new"}


def test_a_rare_field_is_not_gone_after_few_records() -> None:
    loads = Loads()
    loads.known = {"note": "string"}
    loads.look((99, {}), (1, {"note": "x"}))
    assert loads.drift((1000, {})) == {}
    assert loads.drift((1000, {})) == {"note": "vanished"}


def test_an_unknown_field_that_is_gone_is_forgotten_after_three_loads() -> None:
    loads = Loads()
    loads.look((30, {"rank": 7}))
    assert [loads.drift((30, {})) for _ in range(3)] == [{"rank": "new"}, {"rank": "new"}, {}]
    loads.look((1, {"rank": 7}), (99, {}))
    assert [loads.drift((3, {})) for _ in range(5)] == [{"rank": "new"}] * 5  # too few records to know


def test_an_example_shows_little_of_a_text_and_nothing_of_an_object() -> None:
    extra = {"token": "0123456789abcdef", "tags": ["secret"], "address": {"city": "x"}, "short": "abc", "line": "a\nb"}
    state = Loads().look((1, extra))
    examples = {name: field.example for name, field in state.extra.items()}
    assert examples == {
        "token": '"01234567…"', "tags": "an array", "address": "an object", "short": '"abc"', "line": '"a\\nb"',
    }  # fmt: skip


def test_many_names_are_bounded_and_counted() -> None:
    loads = Loads()
    loads.known = {"rank": "number"}
    state = loads.look((1, {"rank": 1}), (2, {f"name {n}\n": n for n in range(300)}))
    assert (len(state.extra), state.unlisted) == (MOST_FIELDS, 201)
    assert "rank" in state.extra
    assert all(name.isprintable() for name in state.extra)


def test_the_state_is_the_same_after_its_way_through_json() -> None:
    state = Loads().look((30, {"rank": 7, "note": None}))
    assert msgspec.json.decode(msgspec.json.encode(state), type=RecordFields) == state


def test_records_whose_fields_the_engine_cannot_list_are_counted() -> None:
    at = f"{int(START.timestamp() * 1000):015d}/{0:010d}/{5:019d}"
    state = advance(None, json.dumps({"known": {}, "sets": [[None, "4", at, None, "4", "2026-11-23 20:00:00.5"]]}))
    assert state is not None
    assert (state.records, [(names.fields, names.records) for names in state.sets]) == (4, [((), 4)])


@pytest.mark.parametrize("text", ["{", "{}", '{"known": {}, "sets": [["[]", "x", "", "[]", "1", "1"]]}'])
def test_a_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(LookError, match="the fields of bronze's new records"):
        advance(None, text)
