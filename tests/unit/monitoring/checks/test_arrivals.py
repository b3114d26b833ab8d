"""Arrivals of the last hour, on a real S3 endpoint, and their cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.landing.layout import object_key
from include.monitoring.checks import arrivals
from include.monitoring.checks.arrivals import HOUR, Span

NOW = datetime.now(UTC)


def key(at: datetime, partition: int = 0, offset: int = 0) -> str:
    return object_key("crypto_data/", "crypto_data", partition, offset, int(at.timestamp() * 1000))


def put(bucket: str, *keys: str) -> None:
    s3 = boto3.client("s3")
    for name in keys:
        s3.put_object(Bucket=bucket, Key=name, Body=b"[]")


@pytest.mark.servers
def test_listed_objects_are_counted_by_their_arrival(bucket: str) -> None:
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
    begin = arrivals.listing_start([catching_up, NOW], NOW)
    arrived = arrivals.count(s3, bucket, "crypto_data/", "crypto_data", begin, NOW - HOUR)
    assert (arrived.objects, arrived.bytes) == (3, 6)
    assert arrived.spans == {0: Span(2, 100, 200), 1: Span(1, 7, 7)}
    later = arrivals.count(s3, bucket, "crypto_data/", "crypto_data", begin, NOW + timedelta(hours=2))
    assert (later.objects, later.listed) == (0, arrived.listed)


@pytest.mark.servers
def test_older_objects_cost_no_request(bucket: str) -> None:
    put(bucket, *(key(NOW - timedelta(days=2, seconds=index), 0, index) for index in range(40)), key(NOW))
    s3 = boto3.client("s3")
    requests: list[Any] = []
    s3.meta.events.register("before-call.s3.ListObjectsV2", lambda **call: requests.append(call))
    arrived = arrivals.count(s3, bucket, "crypto_data/", "crypto_data", NOW - HOUR, NOW - HOUR)
    assert (arrived.listed, arrived.objects, len(requests)) == (1, 1, 1)


@pytest.mark.servers
def test_first_landed_is_the_time_of_the_oldest_batch(bucket: str) -> None:
    s3 = boto3.client("s3")
    put(bucket, "crypto_data/_contract.json")
    assert arrivals.first_landed(s3, bucket, "crypto_data/") is None
    oldest = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    put(bucket, key(NOW), key(oldest))
    assert arrivals.first_landed(s3, bucket, "crypto_data/") == oldest


@pytest.mark.parametrize(
    ("spans", "committed", "mean"),
    [
        pytest.param({}, {}, None, id="nothing arrived"),
        pytest.param({0: Span(3, 0, 150)}, {0: 200}, 200 / 3, id="the commit ends the last object"),
        pytest.param({0: Span(3, 0, 150)}, {0: None}, 75.0, id="the end of the last object is not known"),
        pytest.param({0: Span(1, 0, 0)}, {}, None, id="one object without a commit"),
        pytest.param({0: Span(1, 0, 0), 1: Span(1, 10, 10)}, {0: 100, 1: 30}, 60.0, id="two partitions"),
        pytest.param({0: Span(1, 100, 100)}, {0: 90}, None, id="landed, not committed yet"),
    ],
)
def test_mean_batch(spans: dict[int, Span], committed: dict[int, int | None], mean: float | None) -> None:
    assert arrivals.mean_batch(spans, committed) == mean


@given(st.lists(st.integers(1, 500), min_size=1, max_size=30), st.integers(0, 10**9))
def test_mean_batch_is_the_mean_of_the_sizes(sizes: list[int], begin: int) -> None:
    span = Span(len(sizes), begin, begin + sum(sizes[:-1]))
    assert arrivals.mean_batch({0: span}, {0: begin + sum(sizes)}) == pytest.approx(sum(sizes) / len(sizes))


@given(st.lists(st.timedeltas(timedelta(), timedelta(days=30)), max_size=10))
def test_the_listing_begins_before_every_record_unread_in_the_hour(ages: list[timedelta]) -> None:
    unread = [NOW - age for age in ages]
    begin = arrivals.listing_start(unread, NOW)
    assert begin < NOW - HOUR
    assert all(begin < moment for moment in unread)
