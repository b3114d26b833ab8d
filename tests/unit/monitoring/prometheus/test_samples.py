"""The samples of a scrape: as Prometheus' own parser reads them, complete, and absent where nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from include.catalogue import CONDITIONS, METRICS, MONITOR_SILENT_AFTER, STAGES
from include.monitoring.alerts.model import NO_ALERTS, AlertState, OpenAlert
from include.monitoring.checks.thresholds import in_force
from include.monitoring.checks.verdicts import newest_windows, numbers, with_learned
from include.monitoring.prometheus import names
from include.monitoring.prometheus.objects import StateObjects
from include.monitoring.prometheus.samples import families
from include.state.judged import Judged, JudgedConditions
from include.state.latency import Percentiles, RecentLatency
from include.state.monitor_numbers import MonitorNumbers, Number
from tests.unit.monitoring.measured import EVERYTHING, NOW, built

MINUTE = timedelta(minutes=1)
ALERT = OpenAlert("kafka_lag", "kafka_lag", "error", "Kafka lag is high", NOW - MINUTE, NOW)
WELL = {name: Judged("ok", "0") for name, condition in CONDITIONS.items() if condition.checked}
LATENCY = {stage: RecentLatency(Percentiles(100, 30, 45, 70, 90), ()) for stage in STAGES}


def measured() -> MonitorNumbers:
    """The numbers of a run that could read everything."""
    data = [*numbers(EVERYTHING, {}), *newest_windows(EVERYTHING.consumer)]
    limits = with_learned(in_force(None)[0], EVERYTHING.consumer)
    kept = tuple(Number(datum.metric, datum.value, datum.layer) for datum in data if not datum.counts)
    return MonitorNumbers(NOW, kept, {name: limit.value for name, limit in limits.items()})


ALL = StateObjects(
    measured(),
    JudgedConditions(NOW, WELL),
    NO_ALERTS,
    {"bronze": replace(built("bronze", {}), latency=LATENCY), "silver": None, "gold": built("gold", {})},
)


class Families(Collector):
    """Families as a registry has them."""

    def __init__(self, content: list[Metric]) -> None:
        self.content = content

    def collect(self) -> list[Metric]:
        return self.content


def scraped(objects: StateObjects, now: datetime = NOW) -> dict[str, Metric]:
    """The families that Prometheus' parser reads from the text."""
    registry = CollectorRegistry()
    registry.register(Families(list(families(objects, "test", now))))
    text = generate_latest(registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(family: Metric, *labels: str) -> Mapping[tuple[str, ...], float]:
    """Each sample by the values of some labels; every sample has the label environment."""
    assert all(sample.labels["environment"] == "test" for sample in family.samples)
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in family.samples}


def conditions(objects: StateObjects, now: datetime = NOW) -> dict[str, float]:
    found = values(scraped(objects, now)[names.CONDITION], "condition", "severity")
    return {name: value for (name, severity), value in found.items() if severity == CONDITIONS[name].severity}


def test_every_metric_of_the_catalogue_has_its_help_and_type() -> None:
    for objects in (ALL, StateObjects()):
        found = scraped(objects)
        assert found.keys() == names.every_series().keys()
        for metric in METRICS.values():
            family = found[names.metric_name(metric)]
            assert (family.type, family.documentation) == ("gauge", metric.meaning)


def test_every_known_number_is_a_sample() -> None:
    found = scraped(ALL)
    for metric in METRICS.values():
        assert found[names.metric_name(metric)].samples, metric.name
    assert values(found["crypto_lakehouse_sum_offset_lag"]) == {(): 12}
    assert values(found["crypto_lakehouse_messages_consumed"]) == {(): 5}
    assert values(found["crypto_lakehouse_data_age_seconds"], "layer") == {("bronze",): 10, ("silver",): 20}
    assert values(found["crypto_lakehouse_scanned_bytes"], "layer") == {("bronze",): 7}
    assert values(found[names.LAYER_ROWS], "layer") == {("bronze",): 7, ("gold",): 7}
    assert values(found[names.MEASURED]) == {(): NOW.timestamp()}


def test_a_latency_has_the_percentiles_of_the_last_build() -> None:
    found = scraped(ALL)
    expected = {("50",): 30, ("95",): 45, ("99",): 70, ("100",): 90}
    assert values(found["crypto_lakehouse_latency_to_gold_seconds"], "percentile") == expected


def test_percent_are_a_ratio_and_so_is_their_threshold() -> None:
    found = scraped(ALL)
    assert values(found["crypto_lakehouse_quarantine_share_ratio"]) == {(): pytest.approx(2 / 1002)}
    limits = values(found[names.THRESHOLD], "condition")
    assert limits["quarantine_share",] == 0.01
    assert limits["kafka_lag",] == 1000
    assert limits.keys() == {(name,) for name, condition in CONDITIONS.items() if condition.metric}


def test_numbers_that_are_too_old_are_not_those_of_now() -> None:
    fresh, old = (scraped(ALL, NOW + MONITOR_SILENT_AFTER + more) for more in (timedelta(), MINUTE))
    assert fresh["crypto_lakehouse_sum_offset_lag"].samples
    assert not old["crypto_lakehouse_sum_offset_lag"].samples
    assert old[names.MEASURED].samples
    assert old[names.THRESHOLD].samples


def test_numbers_of_another_version_are_left_out() -> None:
    later = MonitorNumbers(NOW, (Number("OfTomorrow", 1.0),), {"of_tomorrow": 1.0})
    found = scraped(StateObjects(later))
    assert found.keys() == names.every_series().keys()
    assert not found[names.THRESHOLD].samples


def test_every_condition_is_well_or_breached() -> None:
    assert conditions(ALL) == dict.fromkeys(CONDITIONS, 0)
    assert ALL.judged
    breached = replace(ALL.judged, conditions={**WELL, "stale_gold": Judged("breached", "3 h")})
    assert conditions(StateObjects(judged=breached, alerts=NO_ALERTS))["stale_gold"] == 1


def test_a_condition_with_an_open_alert_is_breached() -> None:
    failed = replace(ALERT, key="task_failed:d/t", condition="task_failed")
    alerts = AlertState({alert.key: alert for alert in (ALERT, failed)}, ())
    found = conditions(StateObjects(alerts=alerts))
    assert found == {"kafka_lag": 1, "task_failed": 1, "run_late": 0}


def test_an_unknown_condition_has_no_sample() -> None:
    judged = JudgedConditions(NOW, {"kafka_lag": Judged("unknown", "Kafka could not be read")})
    assert conditions(StateObjects(judged=judged)) == {"monitor_silent": 0}
    assert conditions(StateObjects()) == {}


def test_a_silent_monitor_knows_nothing_any_more() -> None:
    later = NOW + MONITOR_SILENT_AFTER + MINUTE
    assert conditions(StateObjects(judged=JudgedConditions(NOW, WELL)), later) == {"monitor_silent": 1}


def test_texts_of_alerts_are_escaped() -> None:
    key = 'dbt_tests:quote " backslash \\ and\nnewline'
    odd = replace(ALERT, key=key, condition="dbt_tests", severity="warning", began_at=NOW - 2 * MINUTE)
    explained = replace(ALERT, cause="upload_errors")
    found = scraped(StateObjects(alerts=AlertState({odd.key: odd, explained.key: explained}, ())))[names.ALERT]
    assert values(found, "key", "condition", "severity", "cause") == {
        (key, "dbt_tests", "warning", ""): (NOW - 2 * MINUTE).timestamp(),
        ("kafka_lag", "kafka_lag", "error", "upload_errors"): (NOW - MINUTE).timestamp(),
    }


def test_unreadable_objects_are_counted() -> None:
    assert values(scraped(StateObjects(unreadable={"state/alerts.json": "no"}))[names.UNREADABLE]) == {(): 1}
