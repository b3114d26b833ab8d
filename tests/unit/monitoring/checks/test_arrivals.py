"""Arrivals of the last hour, on a real S3 endpoint, and what they cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.landing.layout import object_key
from include.monitoring.checks import arrivals as objects

NOW = datetime.now(UTC)


def key(at: datetime, partition: int = 0, offset: int = 0) -> str:
    return object_key("crypto_data/", "crypto_data", partition, offset, int(at.timestamp() * 1000))


def put(bucket: str, *keys: str) -> None:
    s3 = boto3.client("s3")
    for one in keys:
        s3.put_object(Bucket=bucket, Key=one, Body=b"[]")


@pytest.mark.servers
def test_objects_are_counted_by_arrival_among_what_is_listed(bucket: str) -> None:
    catching_up = NOW - timedelta(days=3)  # records of three days ago, landed just now
    put(
        bucket,
        key(catching_up, 0, 100),
        key(catching_up + timedelta(seconds=1), 0, 200),
        key(NOW, 1, 7),
        "crypto_data/_contract.json",
        key(NOW - timedelta(days=9), 5, 0),
    )
    s3 = boto3.client("s3")
    begin = objects.listing_start([catching_up, NOW], NOW)
    found = objects.arrivals(s3, bucket, "crypto_data/", "crypto_data", begin, NOW - objects.HOUR)
    assert (found.objects, found.bytes) == (3, 6)
    assert found.first_offsets == {0: [100, 200], 1: [7]}
    later = NOW + timedelta(hours=2)
    none = objects.arrivals(s3, bucket, "crypto_data/", "crypto_data", begin, later)
    assert (none.objects, none.listed) == (0, found.listed)


@pytest.mark.servers
def test_older_objects_cost_no_request(bucket: str) -> None:
    put(bucket, *(key(NOW - timedelta(days=2, seconds=index), 0, index) for index in range(40)), key(NOW))
    s3 = boto3.client("s3")
    requests: list[Any] = []
    s3.meta.events.register("before-call.s3.ListObjectsV2", lambda **call: requests.append(call))
    found = objects.arrivals(s3, bucket, "crypto_data/", "crypto_data", NOW - objects.HOUR, NOW - objects.HOUR)
    assert (found.listed, found.objects, len(requests)) == (1, 1, 1)


@pytest.mark.servers
def test_first_landed(bucket: str) -> None:
    s3 = boto3.client("s3")
    put(bucket, "crypto_data/_contract.json")
    assert objects.first_landed(s3, bucket, "crypto_data/") is None
    oldest = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    put(bucket, key(NOW), key(oldest))
    assert objects.first_landed(s3, bucket, "crypto_data/") == oldest


@pytest.mark.parametrize(
    ("firsts", "committed", "mean"),
    [
        ({}, {}, None),
        ({0: [0, 100, 150]}, {0: 200}, 200 / 3),
        ({0: [0, 100, 150]}, {0: None}, 75.0),  # the last one's end is not known
        ({0: [0]}, {}, None),
        ({0: [0], 1: [10]}, {0: 100, 1: 30}, 60.0),
        ({0: [100]}, {0: 90}, None),  # landed, not committed yet
    ],
)
def test_mean_batch(firsts: dict[int, list[int]], committed: dict[int, int | None], mean: float | None) -> None:
    assert objects.mean_batch(firsts, committed) == mean


@given(st.lists(st.integers(1, 500), min_size=1, max_size=30), st.integers(0, 10**9))
def test_mean_batch_is_the_mean_of_the_sizes(sizes: list[int], begin: int) -> None:
    firsts, offset = [], begin
    for size in sizes:
        firsts.append(offset)
        offset += size
    assert objects.mean_batch({0: firsts}, {0: offset}) == pytest.approx(sum(sizes) / len(sizes))


@given(st.lists(st.timedeltas(timedelta(), timedelta(days=30)), max_size=10))
def test_the_listing_begins_before_all_that_was_unread_in_the_hour(ages: list[timedelta]) -> None:
    unread = [NOW - age for age in ages]
    begin = objects.listing_start(unread, NOW)
    assert begin < NOW - objects.HOUR
    assert all(begin < moment for moment in unread)
