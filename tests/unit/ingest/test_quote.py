"""The rules of a valid message, and the class of each error."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingest.quote import AT_ONCE_BYTES, InvalidQuoteError, check, one_line, validate

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
        message(nested={"price": 2, "name": [{"id": 3, "id2": 4}]}, note='"price"', symbols="BTC", more=1),
        message(nested={"x": 1}).replace(b'{"x": 1}', b'{"x": 1, "x": 2, "price": 1, "price": 2}'),
        message(note=1, notes=2).replace(b'"notes"', b'"note"'),
        message(much=1).replace(b": 1}", b": " + b"9" * 5000 + b"}"),
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
        (b"\0\0\0\0\x2a" + message(), "schema_registry_frame"),
        (b"\0\0\x01\x86\xa1\x02\x06BTC\xff", "schema_registry_frame"),
        (b"\0\0\0\0\x01", "not_json"),
        (message().decode().encode("utf-16-be"), "not_json"),
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
        (message()[:-1] + b', "price": 5}', "not_json"),
        (message()[:-1] + b', "\\u0070rice": 5}', "not_json"),
        (message().replace(b'"price"', b'"pri\\u0063e": 5, "pri\\u0063e"'), "not_json"),
        (message().replace(b"20:15:07Z", b'20\\u003a15\\u003a07Z", "id" :7, "name":"x'), "not_json"),
        (message(x={"y": '"'})[:-1] + b', "symbol": "ETH"}', "not_json"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "not_json"),
    ],
)
def test_invalid(value: bytes | None, error_class: str) -> None:
    with pytest.raises(InvalidQuoteError) as refused:
        validate(value, 10_500)
    assert refused.value.error_class == error_class


@pytest.mark.parametrize("space", ["", " ", "\t", "\n", "\r\n"])
@pytest.mark.parametrize("name", ["Bitcoin", "Bitcoin,", 'Bit,"coin', "Bit, coin"])
@pytest.mark.parametrize("more", [b"", b'"price":5', b'"x":1,"id":2'])
def test_a_field_is_refused_the_second_time_whatever_the_spaces(space: str, name: str, more: bytes) -> None:
    quote = json.loads(message(name=name))
    for spaced in ("", space):
        fields = json.dumps(quote, separators=("," + spaced, ":" + spaced)).encode()[:-1]
        value = fields + (b"," + space.encode() + more if more else b"") + b"}"
        assert_checked_like_each_alone([message(), value])
        assert_checked_like_each_alone([message().replace(b" ", b""), value])
        assert [error.error_class for error in check([value], 1000)[1].values()] == (["not_json"] if more else [])


def test_a_registrys_frame_is_named_with_its_schema_id_and_a_remedy() -> None:
    with pytest.raises(InvalidQuoteError, match=r"schema id 100001.*plain JSON: docs/message-contract\.md"):
        validate(b"\0\0\x01\x86\xa1" + message(), 10_500)


SPELLINGS = [
    b"\0\0\0\0\x2a" + message(),
    message(), message(name="Bitcoin \u20bf"), message(name="\u20bf").replace(b"\\u20bf", "\u20bf".encode()),
    message(note="x").replace(b'"x"', b'"\xff"'), message(name="x" * 500), message(note="x" * 500), message(price=0),
    message(_offset=1), None, b"", b"{", b"\xff\xfe", b"[" * 5000, b" " + message(), message() + b" ",
    message().replace(b", ", b",\n"), message().replace(b", ", b",\r"), message(x=[1]),
    message()[:-1] + b', "price": 5}', message(price=...)[:-1] + b', "pric\\u0065": 5}', message(x={"id": 1}),
    message(note='"id"', name="é"), message(name=...)[:-1] + b', "name" : "a:b", "id" :2}',
]  # fmt: skip


def assert_checked_like_each_alone(values: list[bytes | None], max_bytes: int = 400) -> None:
    messages, errors = check(values, max_bytes)
    assert len(messages) == len(values)
    assert list(errors) == sorted(errors)
    for index, value in enumerate(values):
        if index in errors:
            with pytest.raises(InvalidQuoteError) as refused:
                validate(value, max_bytes)
            assert (errors[index].error_class, str(errors[index])) == (refused.value.error_class, str(refused.value))
        else:
            validate(value, max_bytes)
            assert messages[index] == one_line(value or b"")


@given(
    st.lists(st.sampled_from(SPELLINGS[:3]), min_size=1, max_size=6), st.lists(st.sampled_from(SPELLINGS), max_size=3)
)
def test_many_are_checked_like_each_alone(good: list[bytes], rest: list[bytes | None]) -> None:
    assert_checked_like_each_alone([*good, *rest])


@pytest.mark.parametrize("value", SPELLINGS)
def test_two_are_checked_like_each_alone(value: bytes | None) -> None:
    assert_checked_like_each_alone([message(), value])


def test_many_large_values_are_checked_like_each_alone() -> None:
    assert_checked_like_each_alone([message(note="x" * 300_000)] * (AT_ONCE_BYTES // 300_000 + 1), 2**20)


@given(st.data())
def test_values_that_are_quotes_only_together_are_refused(data: st.DataObject) -> None:
    """The text of several quotes, cut anywhere. A piece must not be valid because the whole text is valid."""
    between = data.draw(st.sampled_from([b",\n", b",", b"\n", b""]))
    quotes = [message(), message(x=[1, {"y": "},\n{"}, {}]), message(note='{"'), message(x={"z": {}, "y": {}})]
    text = between.join(data.draw(st.lists(st.sampled_from(quotes), min_size=1, max_size=3)))
    places = [at for at in range(1, len(text)) if text[at : at + 1] in b'{}[],"\n']
    cuts = [0, *sorted(data.draw(st.sets(st.sampled_from(places), max_size=4))), len(text)]
    dropped = data.draw(st.sampled_from([b"", b",", b",\n"]))
    pieces = [text[begin:end] for begin, end in pairwise(cuts)]
    assert_checked_like_each_alone([piece.removeprefix(dropped) for piece in pieces])


@pytest.mark.parametrize("time", ["2026-11-23T20:15Z", "2026-11-23T201507Z", "20261123T20:15:07Z", "2026-11-23T20Z"])
def test_a_time_without_its_two_colons_is_refused(time: str) -> None:
    with pytest.raises(InvalidQuoteError):
        validate(message(last_updated=time), 1000)


@pytest.mark.parametrize(
    "values",
    [
        [message()[:-1] + b',"x":[{}', b"{}]}", message() + b"," + message()],
        [message()[:-1] + b',"x":"}', b'{"}', message() + b"," + message()],
        [message() + b"," + message()],
        [b'{"id":1}', message()],
        [message()[:-1], b'"x":1}'],
        [message() + b",", message()],
        [message() + b",\n" + message()],
    ],
)
def test_values_that_make_as_many_quotes_only_when_joined_are_refused(values: list[bytes | None]) -> None:
    assert_checked_like_each_alone(values)
    assert check(values, 400)[1]
