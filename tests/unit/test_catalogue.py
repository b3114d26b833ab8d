"""The catalogue is consistent and has the required metrics and conditions."""

from __future__ import annotations

import re

import pytest

from include.catalogue import (
    CONDITIONS,
    CONSUMER_METRICS,
    LAYERS,
    METRICS,
    MONITOR_METRICS,
    MONITOR_MINUTES,
    MONITOR_SECONDS,
    Condition,
    alarm_name,
    dimension_values,
    metric_of,
)
from include.settings import PROJECT_ROOT


def test_the_required_consumer_metrics_exist() -> None:
    titles = {metric.title for metric in CONSUMER_METRICS}
    required = {"Messages Consumed", "Batches Uploaded", "Upload Errors", "Throughput", "Upload Duration", "Batch Size"}
    assert required <= titles


@pytest.mark.parametrize(
    ("name", "metric", "comparison", "threshold"),
    [
        ("kafka_lag", "SumOffsetLag", ">", 1000),
        ("dbt_tests", "FailingTests", ">", 0),
        ("upload_errors", "UploadErrors", ">", 5),
        ("stale_gold", "DataAge", ">", 7200),
        ("low_throughput", "MessagesConsumed", "<", 3),
        ("slow_uploads", "UploadDuration", ">", 30),
        ("stale_silver", "DataAge", ">", 3 * 86400),
        ("stale_bronze", "DataAge", ">", 7 * 86400),
    ],
)
def test_required_conditions_have_their_thresholds(name: str, metric: str, comparison: str, threshold: float) -> None:
    condition = CONDITIONS[name]
    assert (condition.metric, condition.comparison, condition.threshold) == (metric, comparison, threshold)
    assert condition.checked


def test_the_monitors_interval_fits_cron_and_cloudwatch() -> None:
    assert MONITOR_SECONDS == 60 * MONITOR_MINUTES
    assert 60 % MONITOR_MINUTES == 0
    assert MONITOR_MINUTES > 1


WORDS = {5: "five", 10: "ten"}


@pytest.mark.parametrize(
    ("page", "pattern"),
    [
        ("README.md", r"monitor[^.\n]*every\s(\w+)\sminutes"),
        ("docs/monitoring.md", r"every\s(\w+)\sminutes"),
        ("docs/monitoring-quick-start.md", r"every\s(\w+)\sminutes"),
        ("docs/runbooks/low_throughput.md", r"(?:of|in|for|after)\s(\w+)\sminutes"),
        ("docs/runbooks/monitor_blind.md", r"(?:of|in|for|after)\s(\w+)\sminutes"),
        ("docs/runbooks/monitor_silent.md", r"(?:of|in|for|after)\s(\w+)\sminutes"),
        ("docs/runbooks/upload_errors.md", r"(?:of|in|for|after)\s(\w+)\sminutes"),
    ],
)
def test_pages_written_by_hand_have_the_monitors_interval(page: str, pattern: str) -> None:
    intervals = (MONITOR_MINUTES, 3 * MONITOR_MINUTES)
    words = {WORDS.get(minutes, "") for minutes in intervals} | {str(minutes) for minutes in intervals}
    minutes = re.findall(pattern, (PROJECT_ROOT / page).read_text())
    assert minutes
    assert set(minutes) <= words


def test_names_are_unique() -> None:
    assert len(METRICS) == len(CONSUMER_METRICS) + len(MONITOR_METRICS)
    parameters = [condition.parameter for condition in CONDITIONS.values()]
    assert len(set(parameters)) == len(parameters)


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=lambda condition: condition.name)
def test_a_condition_uses_a_metric_of_the_catalogue(condition: Condition) -> None:
    metric = metric_of(condition)
    assert (metric is None) == (condition.name in {"task_failed", "run_late"})
    if metric is not None:
        assert ("Layer" in metric.dimensions) == (condition.layer is not None)
        assert dimension_values(metric, "test", condition.layer)["Environment"] == "test"
    assert re.fullmatch(r"[a-z][a-z_]+", condition.name)
    assert re.fullmatch(r"[A-Za-z0-9]+Threshold", condition.parameter)
    assert alarm_name(condition, "test") == f"crypto-lakehouse-test-{condition.name.replace('_', '-')}"
    assert condition.meaning.endswith(".")
    assert condition.notice.endswith(".")
    assert condition.first_step.text.endswith(".")


def test_a_series_by_layer_needs_its_layer() -> None:
    with pytest.raises(ValueError, match="DataAge has a dimension Layer"):
        dimension_values(METRICS["DataAge"], "test")
    assert dimension_values(METRICS["DataAge"], "test", LAYERS[0]) == {"Environment": "test", "Layer": "bronze"}


@pytest.mark.parametrize(("value", "breached"), [(1000, False), (1001, True), (0, False)])
def test_above_means_strictly_above(value: float, breached: bool) -> None:
    assert CONDITIONS["kafka_lag"].breached_by(value) is breached


@pytest.mark.parametrize(("value", "breached"), [(3, False), (2, True)])
def test_below_means_strictly_below(value: float, breached: bool) -> None:
    assert CONDITIONS["low_throughput"].breached_by(value) is breached
