"""Percentiles, and what is kept of builds, hours and objectives."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import boto3
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.settings import StorageSettings
from include.state import latency
from include.state.latency import BuildLatency, LayerLatency, Percentiles, RecentLatency, StageLatency, added

NOW = datetime(2026, 11, 30, 12, 7, tzinfo=UTC)
HISTOGRAMS = st.dictionaries(st.integers(0, 90_000), st.integers(1, 500), min_size=1, max_size=300)


@given(HISTOGRAMS)
def test_a_published_distribution_has_the_percentiles_of_its_records(seconds: dict[int, int]) -> None:
    build = BuildLatency.of(NOW, seconds)
    assert len(build.values) <= 100
    assert Percentiles.of(dict(build.values)) == Percentiles.of(seconds)


@given(HISTOGRAMS)
def test_percentiles_are_by_nearest_rank(seconds: dict[int, int]) -> None:
    ordered = sorted(second for second, records in seconds.items() for _ in range(records))
    ranks = [-(-percent * len(ordered) // 100) for percent in (50, 95, 99, 100)]
    assert Percentiles.of(seconds) == Percentiles(len(ordered), *(ordered[rank - 1] for rank in ranks))


def test_a_build_without_a_record_has_no_latency_and_burns_nothing() -> None:
    before = added(StageLatency(), NOW, {30: 5}, 1200)
    after = added(before, NOW + timedelta(minutes=1), {}, 1200)
    assert after.last is None
    assert (after.counts, after.builds) == (before.counts, before.builds)
    assert Percentiles.of({}) is None
    assert RecentLatency.of(StageLatency()).hours == ()


def test_an_hour_has_all_builds_that_ended_in_it() -> None:
    stage = added(added(StageLatency(), NOW, {30: 5}, None), NOW + timedelta(minutes=40), {50: 15}, None)
    hours = RecentLatency.of(stage).hours
    assert [(hour.at.hour, hour.percentiles) for hour in hours] == [(12, Percentiles(20, 50, 50, 50, 50))]
    later = RecentLatency.of(added(stage, NOW + timedelta(hours=2), {1: 1}, None)).hours
    assert [(hour.at.hour, hour.percentiles.records) for hour in later] == [(12, 20), (14, 1)]


def test_a_record_exactly_in_time_is_good() -> None:
    stage = added(StageLatency(), NOW, {120: 3, 121: 2}, 120)
    stage = added(stage, NOW + timedelta(minutes=2), {1: 1}, 120)
    assert [(count.at.minute, count.good, count.bad) for count in stage.counts] == [(0, 4, 2)]
    assert [count.at.minute for count in added(stage, NOW + timedelta(minutes=3), {1: 1}, 120).counts] == [0, 10]


@pytest.mark.servers
def test_the_object_stays_small(bucket: str) -> None:
    s3, storage, stage = boto3.client("s3"), StorageSettings(bucket=bucket), StageLatency()
    for build in range(4 * 24 * 15):  # four days of runs four minutes apart
        stage = added(stage, NOW + build * timedelta(minutes=4), {build % 300 + n: 1 for n in range(240)}, 120)
    assert len(stage.hours) == 24
    assert len(stage.counts) <= 434
    latency.write(s3, storage, "gold", LayerLatency("2026-11-30 12:00:00", NOW, NOW, {"gold": stage}))
    known = latency.read(s3, storage, "gold")
    assert known is not None
    assert known.stages["gold"] == stage
    assert len(json.dumps(msgspec.to_builtins(known, str_keys=True))) < 100_000
