"""Bodies are valid JSON with one record a line, and the producer's bytes can be read from them unchanged."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingest.quote import one_line
from include.landing.body import GZIP, PLAIN, JsonArray
from include.landing.codec import RESERVED_FIELDS

VALUES = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name not in RESERVED_FIELDS),
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
    """The line of one record, made in the simplest possible way."""
    line = value.strip()[1:].replace(b"\r", b" ").replace(b"\n", b" ")
    return start + str(offset).encode() + b',"_timestamp":' + str(time).encode() + b"," + line


@given(messages(), st.integers(0, 2**62), st.integers(0, 2**41))
def test_a_line_holds_coordinates_and_the_object(message: tuple[dict[str, object], bytes], at: int, time: int) -> None:
    value, raw = message
    line = PLAIN.join(PLAIN.prefix("t", 3), at, [time], [one_line(raw)])
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(PLAIN.message(line, 0)) == value
    assert json.loads(line) == {"_topic": "t", "_partition": 3, "_offset": at, "_timestamp": time} | value


@given(st.lists(messages(), max_size=4), st.sampled_from([PLAIN, GZIP]))
def test_a_body_reads_back_and_is_a_function_of_its_lines(
    objects: list[tuple[dict[str, object], bytes]], codec: JsonArray
) -> None:
    prefix = codec.prefix("t", 0)
    lines = [spliced(prefix, index, 0, raw) for index, (_, raw) in enumerate(objects)]
    encoded = codec.encode(lines)
    assert encoded == codec.encode(lines)
    rows = codec.decode(encoded)
    assert [{k: v for k, v in row.items() if k not in RESERVED_FIELDS} for row in rows] == [v for v, _ in objects]


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
    prefix = PLAIN.prefix("t", 0)
    timestamps = [times[0] if at_once else time for time in times][: len(values)]
    lines = [spliced(prefix, at + index, timestamps[index], value) for index, value in enumerate(values)]
    joined = PLAIN.join(prefix, at, timestamps, list(map(one_line, values)))
    assert PLAIN.encode([joined]) == PLAIN.encode(lines)
    for first in range(1, len(values)):
        assert PLAIN.cut(joined, first) == (b",\n".join(lines[:first]), b",\n".join(lines[first:]))
        assert PLAIN.message(joined, first) == one_line(values[first])


def test_a_plain_body_has_one_record_a_line() -> None:
    lines = PLAIN.join(PLAIN.prefix("t", 0), 7, [5, 5], [b'{"id":1}', b'{"id":1}'])
    assert PLAIN.encode([lines]).decode().splitlines() == [
        "[",
        '{"_topic":"t","_partition":0,"_offset":7,"_timestamp":5,"id":1},',
        '{"_topic":"t","_partition":0,"_offset":8,"_timestamp":5,"id":1}',
        "]",
    ]
    assert PLAIN.encode([]) == b"[]\n"


def test_numbers_keep_their_digits() -> None:
    value = b'{"price":64123.1200, "big":12345678901234567890.10}'
    line = PLAIN.join(PLAIN.prefix("t", 0), 0, [0], [value])
    assert b"64123.1200" in line
    assert b"12345678901234567890.10" in line


@pytest.mark.parametrize("broken", [b"{", b'{"a":1}', b"\x1f\x8b"])
def test_a_body_of_another_format_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match="not a landed object"):
        PLAIN.decode(broken)
    assert msgspec.json.decode(b"[]") == []
