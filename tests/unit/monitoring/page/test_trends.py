from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from include.catalogue import CONDITIONS, METRICS
from include.monitoring.page import trends
from include.monitoring.page.trends import LINES, RANGES, TRENDS
from include.settings import MonitorSettings

NOW = datetime(2026, 11, 30, 6, 2, tzinfo=UTC)
SETTINGS = MonitorSettings(environment="test")


class CloudWatch:
    """Answers with one value a period for one metric, in two responses, and keeps what it was asked."""

    def __init__(self, metric: str, values: dict[datetime, float]) -> None:
        self.metric, self.values = metric, values
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, operation: str) -> Any:
        assert operation == "get_metric_data"
        return SimpleNamespace(paginate=self._paginate)

    def _paginate(self, **asked: Any) -> list[Any]:
        self.asked.append(asked)
        ids = [q["Id"] for q in asked["MetricDataQueries"] if q["MetricStat"]["Metric"]["MetricName"] == self.metric]
        times, halves = list(self.values), [list(self.values)[:1], list(self.values)[1:]]
        assert times == [time for half in halves for time in half]
        return [
            {"MetricDataResults": [{"Id": ids[0], "Timestamps": half, "Values": [self.values[one] for one in half]}]}
            for half in halves
        ]


def read(cloudwatch: CloudWatch, name: str = "1h") -> trends.Trends:
    return trends.read(cloudwatch, SETTINGS, RANGES[name], NOW)  # type: ignore[arg-type]


def test_each_value_stands_at_its_time_and_the_others_are_unknown() -> None:
    cloudwatch = CloudWatch("SumOffsetLag", {NOW.replace(minute=0): 7.0, NOW - timedelta(minutes=62): 1.0})
    found = read(cloudwatch)
    assert found.end == NOW.replace(minute=5)
    line = list(found.values["SumOffsetLag.Maximum"])
    assert line == [*[None] * 11, 7.0], "the other value is before the range"
    assert set(found.values["DataAge.Maximum.gold"]) == {None}


def test_a_rate_is_by_the_second() -> None:
    ended, going_on = NOW.replace(minute=0) - timedelta(minutes=5), NOW.replace(minute=0)
    found = read(CloudWatch("MessagesConsumed", {ended: 900.0, going_on: 30.0}))
    assert list(found.values["MessagesConsumed.Sum"])[-2:] == [3.0, None]


def test_a_range_costs_one_request() -> None:
    cloudwatch = CloudWatch("SumOffsetLag", {})
    read(cloudwatch, "7d")
    (asked,) = cloudwatch.asked
    assert len(asked["MetricDataQueries"]) == len(LINES)
    assert {query["MetricStat"]["Period"] for query in asked["MetricDataQueries"]} == {1800}


@pytest.mark.parametrize(("minutes", "name"), [(10, "1h"), (54, "1h"), (70, "6h"), (1_000, "24h")])
def test_without_a_choice_the_range_is_as_long_as_the_numbers(minutes: int, name: str) -> None:
    found = read(CloudWatch("SumOffsetLag", {NOW: 7.0, NOW - timedelta(minutes=minutes): 1.0}), "24h")
    fitted = trends.fitted(found)
    assert (fitted.range, fitted.end - fitted.begin) == (name, RANGES[name].duration)
    line = fitted.values["SumOffsetLag.Maximum"]
    assert len(line) == RANGES[name].duration / RANGES[name].period
    assert [value for value in line if value] == [1.0, 7.0]


@pytest.mark.parametrize("name", RANGES)
def test_a_line_has_few_points_and_whole_periods(name: str) -> None:
    chosen = RANGES[name]
    assert chosen.duration % chosen.period == timedelta(0)
    assert chosen.duration / chosen.period <= 336


def test_every_chart_is_of_the_catalogue() -> None:
    assert {line.metric for line in LINES} <= METRICS.keys()
    assert {trend.condition for trend in TRENDS} - {""} <= CONDITIONS.keys()
    assert len({line.id for line in LINES}) == len(LINES)


def test_a_threshold_is_of_the_same_unit_as_its_chart() -> None:
    for trend in TRENDS:
        if trend.condition and not trend.objective:
            metric = CONDITIONS[trend.condition].metric
            assert metric == trend.lines[0].metric, trend.title
