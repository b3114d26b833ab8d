"""Keys are a pure function of where a batch begins, and sort by time."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from include.landing.layout import MAX_TIMESTAMP_MS, instant, object_key, parse_key, start_after

TIMES = st.integers(-(2**62), 2**62)
PARTITIONS = st.integers(0, 200_000)
OFFSETS = st.integers(0, 10**19)


@given(
    PARTITIONS, OFFSETS, TIMES, st.sampled_from(["crypto_data", "dead_letter"]), st.sampled_from([".json", ".json.gz"])
)
def test_a_key_reads_back(partition: int, offset: int, time: int, kind: str, suffix: str) -> None:
    key = object_key("any/prefix/", kind, partition, offset, time, suffix)  # type: ignore[arg-type]
    parsed = parse_key(key)
    assert parsed is not None
    assert (parsed.kind, parsed.partition, parsed.first_offset, parsed.suffix) == (kind, partition, offset, suffix)
    assert parsed.time == instant(time)


@given(st.tuples(PARTITIONS, OFFSETS), st.tuples(PARTITIONS, OFFSETS), TIMES)
def test_batches_that_begin_differently_have_different_keys(
    first: tuple[int, int], other: tuple[int, int], time: int
) -> None:
    same = object_key("p/", "crypto_data", *first, time) == object_key("p/", "crypto_data", *other, time)
    assert same == (first == other)


@given(st.integers(0, MAX_TIMESTAMP_MS), st.integers(0, MAX_TIMESTAMP_MS))
def test_start_after_skips_exactly_the_older_keys(time: int, since: int) -> None:
    moment = datetime.fromtimestamp(since // 1000, UTC)
    listed = object_key("p/", "crypto_data", 0, 0, time) > start_after("p/", "crypto_data", moment)
    assert listed == (instant(time) >= moment)


def test_an_example() -> None:
    key = object_key("crypto_data/", "crypto_data", 2, 4200, 1_763_928_907_123)
    assert key == "crypto_data/2025/11/23/crypto_data_20-15-07_p00002_o00000000000000004200.json"
    assert parse_key("crypto_data/_contract.json") is None
