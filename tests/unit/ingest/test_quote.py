"""What is a valid message, and which class a bad one gets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingest.quote import InvalidQuoteError, count_valid, validate

GOOD = {"id": 1, "symbol": "BTC", "name": "Bitcoin", "price": 64123.12, "last_updated": "2026-11-23T20:15:07Z"}


def message(**changes: object) -> bytes:
    return json.dumps({name: value for name, value in (GOOD | changes).items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "value",
    [
        message(),
        message(price=5),
        message(last_updated="2026-11-23T20:15:07.123456+05:30"),
        message(volume=1e9, nested={"_topic": "inside another field is fine"}),
        message(name="Bitcoin ₿"),
        b"\n " + message() + b"\n",
    ],
)
def test_valid(value: bytes) -> None:
    assert validate(value, 10_000).symbol == "BTC"


@pytest.mark.parametrize(
    ("value", "error_class"),
    [
        (None, "empty"),
        (b"", "empty"),
        (message(name="x" * 20_000), "too_large"),
        (b"{", "not_json"),
        (b"[1, 2", "wrong_type"),
        (b"\xff\xfe", "not_json"),
        (message().replace(b"64123.12", b"NaN"), "not_json"),
        (message() + b"{}", "not_json"),
        (message(note="x").replace(b'"x"', b'"\xff"'), "not_utf8"),
        (message(price=...), "missing_field"),
        (b"{}", "missing_field"),
        (b"[]", "wrong_type"),
        (b"null", "wrong_type"),
        (message(price="64123.12"), "wrong_type"),
        (message(price=True), "wrong_type"),
        (message(id=1.5), "wrong_type"),
        (message(last_updated="yesterday"), "wrong_type"),
        (message(last_updated="2026-11-23T20:15:07"), "wrong_type"),
        (message(last_updated=1764028800), "wrong_type"),
        (message(price=0), "out_of_range"),
        (message(price=-1), "out_of_range"),
        (message().replace(b"64123.12", b"1e999"), "out_of_range"),
        (message(id=0), "out_of_range"),
        (message(symbol=""), "out_of_range"),
        (message(_offset=1), "reserved_field"),
        (message(_topic=None), "reserved_field"),
        (message().replace(b'{"id"', b'{"\\u005fpartition": 0, "id"'), "reserved_field"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "not_json"),
    ],
)
def test_invalid(value: bytes | None, error_class: str) -> None:
    with pytest.raises(InvalidQuoteError) as refused:
        validate(value, 10_500)
    assert refused.value.error_class == error_class


SPELLINGS = [
    message(), message(name="Bitcoin \u20bf"), message(name="\u20bf").replace(b"\\u20bf", "\u20bf".encode()),
    message(note="x").replace(b'"x"', b'"\xff"'), message(name="x" * 500), message(price=0), message(_offset=1),
    None, b"", b"{", b"\xff\xfe", b"[" * 5000,
]  # fmt: skip


@given(st.lists(st.sampled_from(SPELLINGS[:3]), max_size=6), st.lists(st.sampled_from(SPELLINGS), max_size=3))
def test_many_are_counted_up_to_the_first_that_is_refused_alone(good: list[bytes], rest: list[bytes | None]) -> None:
    values = [*good, *rest]
    count = count_valid(values, 400)
    for value in values[:count]:
        validate(value, 400)
    if count < len(values):
        with pytest.raises(InvalidQuoteError):
            validate(values[count], 400)
