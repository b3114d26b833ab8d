"""Thresholds from the catalogue and the Variable."""

from __future__ import annotations

import pytest

from include.catalogue import CONDITIONS
from include.monitoring.checks import thresholds
from include.monitoring.checks.thresholds import FROM_CATALOGUE, FROM_HISTORY, FROM_VARIABLE, Threshold


@pytest.mark.parametrize("variable", [None, "", "  ", "{}"])
def test_without_a_variable_the_catalogue_is_in_force(variable: str | None) -> None:
    limits, faults = thresholds.in_force(variable)
    assert not faults
    assert limits == {
        name: Threshold(condition.threshold) for name, condition in CONDITIONS.items() if condition.metric
    }


def test_the_variable_overrides_the_catalogue_and_is_named() -> None:
    limits, faults = thresholds.in_force('{"kafka_lag": 5000, "stale_gold": 3600.5}')
    assert not faults
    assert limits["kafka_lag"] == Threshold(5000, FROM_VARIABLE)
    assert limits["stale_gold"] == Threshold(3600.5, FROM_VARIABLE)
    assert limits["slow_uploads"].source == FROM_CATALOGUE


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("{kafka_lag: 1}", 'write it like {"kafka_lag": 5000}'),
        ("[1]", "is a list, not an object"),
        ('{"kafka_lagg": 1}', "'kafka_lagg' is not a condition with a threshold; these are audit_failed, "),
        ('{"task_failed": 1}', "'task_failed' is not a condition with a threshold"),
        ('{"kafka_lag": "many"}', "kafka_lag is 'many', not a number"),
        ('{"kafka_lag": true}', "kafka_lag is True, not a number"),
        ('{"kafka_lag": -1}', "kafka_lag is -1, not a number"),
        ('{"kafka_lag": NaN}', "kafka_lag is nan, not a number"),
        ('{"kafka_lag": Infinity}', "kafka_lag is inf, not a number"),
        (f'{{"kafka_lag": 1{"0" * 400}}}', "not a number"),
    ],
)
def test_an_entry_that_cannot_be_used_is_named_and_the_catalogue_stays(variable: str, says: str) -> None:
    limits, faults = thresholds.in_force(variable)
    assert len(faults) == 1
    assert says in faults[0]
    assert limits["kafka_lag"] == Threshold(1000)


def test_the_example_can_be_used() -> None:
    assert thresholds.in_force(thresholds.EXAMPLE)[1] == []


def test_one_bad_name_does_not_disable_the_others() -> None:
    limits, faults = thresholds.in_force('{"nonsense": 1, "kafka_lag": 7}')
    assert len(faults) == 1
    assert limits["kafka_lag"].value == 7


def test_a_differing_alarm_is_a_warning() -> None:
    limits = {
        "kafka_lag": Threshold(5000, FROM_VARIABLE),
        "stale_gold": Threshold(7200),
        "low_throughput": Threshold(400, FROM_HISTORY),
    }
    alarms = {"kafka_lag": 1000.0, "stale_gold": 7200.0, "low_throughput": 3.0}
    assert thresholds.differing_alarms(limits, alarms) == {
        "kafka_lag": "its CloudWatch alarm is set to 1000, the monitor to 5000 (Variable monitor_thresholds)"
    }
