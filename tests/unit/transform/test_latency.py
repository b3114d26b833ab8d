"""Which records of a build count, and how long they took."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import obstore
import pytest
from obstore.store import S3Store

from include.settings import ObjectiveSettings, StorageSettings
from include.state.latency import LayerLatency, Percentiles
from include.transform import latency
from include.transform.layer_query import Arrivals
from tests.warehouse.landed_topic import open_bucket

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SECOND = int(NOW.timestamp())
KNOWN = LayerLatency("2026-11-30 11:45:00", NOW - timedelta(hours=1), NOW - timedelta(minutes=15), {})


def after(arrivals: Arrivals, **landed: datetime) -> LayerLatency:
    return latency.advanced(KNOWN, "bronze", arrivals, landed, NOW, ObjectiveSettings(gold_minutes=1))


def test_the_first_recording_counts_no_record() -> None:
    first = latency.begun(Arrivals("2026-11-30 11:59:00", False, {}), NOW)
    assert (first.since, first.counts_from, first.stages) == ("2026-11-30 11:59:00", NOW, {})


def test_each_record_counts_with_the_time_of_its_object() -> None:
    times = {"a": {SECOND - 60: 3, SECOND - 50: 1}, "b": {SECOND - 20: 2}, "gone": {SECOND - 10: 5}}
    known = after(Arrivals("2026-11-30 11:59:00", False, times), a=NOW - timedelta(seconds=40), b=NOW)
    assert known.stages["bronze"].last == Percentiles(11, 20, 60, 60, 60)
    assert known.stages["landed"].last == Percentiles(6, 20, 20, 20, 20)
    assert (known.since, known.newest) == ("2026-11-30 11:59:00", NOW - timedelta(seconds=10))


def test_a_clock_ahead_of_ours_gives_no_negative_latency() -> None:
    known = after(Arrivals(None, False, {"a": {SECOND + 5: 1}}))
    assert known.stages["bronze"].last == Percentiles(1, 0, 0, 0, 0)
    assert known.since == KNOWN.since


def test_after_a_rebuild_only_records_newer_than_the_measured_ones_count() -> None:
    measured = int(KNOWN.newest.timestamp())
    times = {"old": {measured - 600: 100}, "new": {measured: 1, measured + 1: 1}}
    known = after(Arrivals("2026-11-30 11:59:00", True, times))
    assert known.stages["bronze"].last == Percentiles(1, 899, 899, 899, 899)
    assert known.counts_from == KNOWN.newest


@pytest.mark.servers
def test_the_time_in_s3_is_read_for_the_named_objects_only(bucket: str, s3: str) -> None:
    store: S3Store = open_bucket(bucket, s3)
    names = [f"2026/11/30/crypto_data_12-00-{second:02}_p00000_o{second:020}.json" for second in range(4)]
    for name in names:
        obstore.put(store, f"crypto_data/{name}", b"[]")
    client = boto3.client("s3")
    landed = latency.landed_at(client, StorageSettings(bucket=bucket), [names[1], names[2], "2026/11/30/gone"])
    head = client.head_object(Bucket=bucket, Key=f"crypto_data/{names[1]}")
    assert landed.keys() == {names[1], names[2]}
    assert landed[names[1]].replace(microsecond=0) == head["LastModified"]
    assert latency.landed_at(client, StorageSettings(bucket=bucket), []) == {}
