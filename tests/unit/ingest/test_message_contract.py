"""The published contract says what the consumer accepts, as far as JSON Schema can."""

from __future__ import annotations

import json
import re
import string
import sys
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml
from hypothesis import given
from hypothesis import strategies as st

from include.ingest import message_contract
from include.ingest.quote import TIME_PATTERN, InvalidQuoteError, validate
from include.landing.codec import RESERVED_FIELDS
from include.settings import PROJECT_ROOT
from tests.warehouse.times_of_quotes import TIMES, Time

GOOD = {"id": 1, "symbol": "BTC", "name": "Bitcoin", "price": 64123.12, "last_updated": "2026-11-23T20:15:07Z"}
PUBLISHED = PROJECT_ROOT / "docs" / "contract"
SCHEMA = json.loads((PUBLISHED / message_contract.schema_file()).read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def is_accepted(value: bytes) -> bool:
    try:
        validate(value, 10_000)
    except InvalidQuoteError:
        return False
    return True


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NUMBERS = st.integers() | st.integers(-2, 2) | st.integers(2**63 - 2, 2**63 + 1) | st.floats(allow_nan=False)
BOUNDS = st.sampled_from([0, -0.0, 5e-324, sys.float_info.max, float("inf"), 10**400])
ANYTHING = st.none() | st.booleans() | NUMBERS | TEXTS | st.lists(st.integers(), max_size=2)
FIELDS = {
    "id": st.integers(1, 2**63 - 1) | ANYTHING,
    "symbol": st.text(string.ascii_uppercase, min_size=1, max_size=33) | ANYTHING,
    "name": st.integers(0, 202).map("x".__mul__) | TEXTS | ANYTHING,
    "price": st.floats(min_value=5e-324, allow_infinity=False) | BOUNDS | ANYTHING,
    "last_updated": TIMES.map(lambda time: time.text) | ANYTHING,
}
EXTRA = st.dictionaries(TEXTS | st.sampled_from([*RESERVED_FIELDS, "volume_24h"]), ANYTHING, max_size=2)


def is_beyond_schema(message: dict[str, Any]) -> bool:
    """Whether one of the sentences of BEYOND_SCHEMA is about this message, which Python's `json` wrote."""
    at, number = message.get("last_updated"), message.get("id")
    is_pattern = isinstance(at, str) and re.search(TIME_PATTERN, at)
    day_is_wrong = is_pattern and not is_accepted(json.dumps(GOOD | {"last_updated": at}).encode())
    return bool(day_is_wrong) or (isinstance(number, float) and number.is_integer())


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), st.just(...), max_size=2), EXTRA, st.data())
def test_the_consumer_accepts_what_the_schema_allows(
    changed: dict[str, object], extra: dict[str, object], data: st.DataObject
) -> None:
    drawn = {name: data.draw(FIELDS[name] | st.just(...)) for name in changed}
    message = {name: value for name, value in (extra | GOOD | drawn).items() if value is not ...}
    if not is_beyond_schema(message):
        written = json.dumps(message).replace("Infinity", "1e999").encode()
        assert is_accepted(written) == VALIDATOR.is_valid(message), (message, list(VALIDATOR.iter_errors(message)))


def changed(field: str, text: str) -> str:
    """The good message with another JSON text as the value of one field."""
    return json.dumps(GOOD | {field: "<<"}).replace('"<<"', text)


BEYOND = {
    "in front": ["\ufeff" + json.dumps(GOOD), "\0\0\0\0\x01" + json.dumps(GOOD)],
    "CONSUMER_MAX_MESSAGE_BYTES": [
        json.dumps(GOOD | {"note": "x" * 10_000}), changed("note", "[" * 2000 + "]" * 2000)
    ],
    "as digits only": [changed("id", "1.0"), changed("id", "1e0")],
    "in the object twice": [
        json.dumps(GOOD).replace("{", '{"price": 5, '),
        json.dumps(GOOD).replace("{", r'{"\u0070rice": 5, '),
    ],
    "surrogate": [changed("note", r'"\ud800"'), changed("name", r'"\ud800"')],
    "rounding to a double": [changed("price", "1e-400")],
    "day of the calendar": [
        changed("last_updated", '"2026-02-30T00:00:00Z"'), changed("last_updated", '"9999-12-31T23:59:59.9999999Z"')
    ],
}  # fmt: skip
"""Words of each sentence of BEYOND_SCHEMA -> texts that it is about."""


def test_each_rule_beyond_the_schema_is_named_with_examples() -> None:
    for words, sentence in zip(BEYOND, message_contract.BEYOND_SCHEMA, strict=True):
        assert words in sentence
        assert sentence in SCHEMA["$comment"]
        assert not any(is_accepted(text.encode()) for text in BEYOND[words]), words


def test_the_schema_allows_what_only_the_consumer_refuses() -> None:
    """So the sentences of BEYOND_SCHEMA are needed. The others are about the text, which the schema does not see."""
    for words in ("as digits only", "in the object twice", "surrogate", "day of the calendar"):
        assert all(VALIDATOR.is_valid(json.loads(text)) for text in BEYOND[words]), words
    assert VALIDATOR.is_valid(GOOD | {"note": "x" * 10_000})


def test_the_published_schema_is_one_of_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(message_contract.json_schema())) == SCHEMA
    assert {name for name, rules in SCHEMA["properties"].items() if rules is False} == set(RESERVED_FIELDS)
    for name, rules in SCHEMA["properties"].items():
        assert rules is False or VALIDATOR.is_valid(GOOD | {name: rules["examples"][0]})


def test_the_data_contract_has_the_fields_of_the_schema() -> None:
    contract = yaml.safe_load((PUBLISHED / "quote.odcs.yaml").read_text())
    assert {contract[name] for name in ("apiVersion", "kind")} == {"v3.1.0", "DataContract"}
    assert (contract["version"], contract["id"]) == (SCHEMA["version"], SCHEMA["$id"])
    [topic] = contract["schema"]
    described = {field["name"]: field for field in topic["properties"]}
    assert list(described) == [name for name in SCHEMA["properties"] if name not in RESERVED_FIELDS]
    for name, field in described.items():
        rules = SCHEMA["properties"][name]
        assert field["required"] == (name in SCHEMA["required"])
        assert field["logicalType"] == rules["type"]
        assert field["logicalTypeOptions"].items() <= rules.items()


@given(TIMES)
def test_the_consumer_accepts_the_times_of_the_pattern(time: Time) -> None:
    """Except days that no calendar has, and times that round up to the year 10000."""
    has_pattern = re.search(TIME_PATTERN, time.text) is not None
    assert time.is_accepted == (has_pattern and time.is_of_the_calendar)
