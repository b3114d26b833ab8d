"""Bodies are valid JSON, one record a line, and give back the producer's bytes."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.landing import body

VALUES = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name not in body.RESERVED_FIELDS),
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.lists(st.text(), max_size=3),
    min_size=1,
    max_size=5,
)
SPACE = st.text(alphabet=" \t\r\n", max_size=3)


@st.composite
def messages(draw: st.DrawFn) -> tuple[dict[str, object], bytes]:
    """A JSON object and one of its spellings."""
    value: dict[str, object] = dict(draw(VALUES))
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.integers(0, 2)))
    return value, (draw(SPACE) + text + draw(SPACE)).encode("utf-8", "surrogatepass")


def spliced(start: bytes, offset: int, time: int, value: bytes) -> bytes:
    """The line of one record, written as plainly as can be."""
    line = value.strip()[1:].replace(b"\r", b" ").replace(b"\n", b" ")
    return start + str(offset).encode() + b',"_timestamp":' + str(time).encode() + b"," + line


@given(messages(), st.integers(0, 2**62), st.integers(0, 2**41))
def test_a_line_holds_coordinates_and_the_object(message: tuple[dict[str, object], bytes], at: int, time: int) -> None:
    value, raw = message
    line = body.join(body.line_start("t", 3), at, [time], [body.bare(raw)])
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(body.unsplice(line)) == value
    assert json.loads(line) == {"_topic": "t", "_partition": 3, "_offset": at, "_timestamp": time} | value


@given(st.lists(messages(), max_size=4), st.sampled_from([".json", ".json.gz"]))
def test_a_body_reads_back_and_is_a_function_of_its_lines(
    found: list[tuple[dict[str, object], bytes]], suffix: str
) -> None:
    start = body.line_start("t", 0)
    lines = [spliced(start, index, 0, raw) for index, (_, raw) in enumerate(found)]
    encoded = body.encode(lines, suffix)  # type: ignore[arg-type]
    assert encoded == body.encode(lines, suffix)  # type: ignore[arg-type]
    rows = body.decode(encoded, suffix)  # type: ignore[arg-type]
    assert [{k: v for k, v in row.items() if k not in body.RESERVED_FIELDS} for row in rows] == [v for v, _ in found]


@given(
    st.lists(
        messages().map(lambda pair: pair[1]) | st.sampled_from([b'{"a":"},\\n{"}', b'{"a":{"b":1},\n"c":{}}']),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**62),
    st.lists(st.integers(0, 2**41), min_size=5, max_size=5),
    st.booleans(),
)
def test_many_records_make_the_body_that_their_lines_make(
    values: list[bytes], at: int, times: list[int], at_once: bool
) -> None:
    start = body.line_start("t", 0)
    timestamps = [times[0] if at_once else time for time in times][: len(values)]
    lines = [spliced(start, at + index, timestamps[index], value) for index, value in enumerate(values)]
    joined = body.join(start, at, timestamps, list(map(body.bare, values)))
    assert body.encode([joined], ".json") == body.encode(lines, ".json")
    assert body.split(body.BETWEEN.join(values), len(values)) in (None, list(map(body.bare, values)))
    for first in range(1, len(values)):
        assert body.cut(joined, first) == (b",\n".join(lines[:first]), b",\n".join(lines[first:]))
        assert body.line(joined, first) == lines[first]


def test_values_on_a_line_each_are_split_and_others_are_not() -> None:
    assert body.split(b'{"a":1},\n{"b":{}},\n{"c":"}"}', 3) == [b'"a":1', b'"b":{}', b'"c":"}"']
    for joined, count in [(b'{"a":1} ,\n{"b":1}', 2), (b'{"a":1},\n{"b":1}', 1), (b'{"a":\r1}', 1), (b'{"a":\n1}', 1)]:
        assert body.split(joined, count) is None


def test_a_plain_body_has_one_record_a_line() -> None:
    lines = body.join(body.line_start("t", 0), 7, [5, 5], [b'"id":1', b'"id":1'])
    assert body.encode([lines], ".json").decode().splitlines() == [
        "[",
        '{"_topic":"t","_partition":0,"_offset":7,"_timestamp":5,"id":1},',
        '{"_topic":"t","_partition":0,"_offset":8,"_timestamp":5,"id":1}',
        "]",
    ]
    assert body.encode([], ".json") == b"[]\n"


def test_numbers_keep_their_digits() -> None:
    value = b'{"price":64123.1200, "big":12345678901234567890.10}'
    line = body.join(body.line_start("t", 0), 0, [0], [body.bare(value)])
    assert b"64123.1200" in line
    assert b"12345678901234567890.10" in line


@pytest.mark.parametrize("broken", [b"{", b'{"a":1}', b"\x1f\x8b"])
def test_what_is_no_landed_object_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match="not a landed object"):
        body.decode(broken, ".json")
    assert msgspec.json.decode(b"[]") == []
