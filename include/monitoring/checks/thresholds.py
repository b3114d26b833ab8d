"""The thresholds in force: the catalogue's, unless the Airflow Variable `monitor_thresholds` has another number.

The Variable is a JSON object of condition names and numbers, like
`{"kafka_lag": 5000, "stale_gold": 10800}`. Each run of the monitor reads it, so a change needs no
deployment. An entry that cannot be used is named and makes the condition `monitor_blind` red; the
catalogue's threshold of that condition stays in force.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.catalogue import CONDITIONS

VARIABLE = "monitor_thresholds"
EXAMPLE = '{"kafka_lag": 5000}'
FROM_CATALOGUE = "catalogue"
FROM_VARIABLE = f"Variable {VARIABLE}"
FROM_HISTORY = "learned from the last days"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number in the unit of the condition's metric, and its source."""

    value: float
    source: str = FROM_CATALOGUE


def in_force(variable: str | None) -> tuple[dict[str, Threshold], list[str]]:
    """The threshold of every condition with a metric, and the faults of the Variable."""
    thresholds = {name: Threshold(condition.threshold) for name, condition in CONDITIONS.items() if condition.metric}
    overrides, faults = _parse(variable)
    for name, value in overrides.items():
        fault = _fault(name, value, thresholds)
        if fault:
            faults.append(f"{FROM_VARIABLE}: {fault}")
        else:
            thresholds[name] = Threshold(float(value), FROM_VARIABLE)
    return thresholds, faults


def _parse(variable: str | None) -> tuple[dict[str, Any], list[str]]:
    if variable is None or not variable.strip():
        return {}, []
    try:
        content = json.loads(variable)
    except ValueError as error:
        return {}, [f"{FROM_VARIABLE} is not JSON ({error}): write it like {EXAMPLE}"]
    if not isinstance(content, dict):
        return {}, [f"{FROM_VARIABLE} is a {type(content).__name__}, not an object of names and numbers"]
    return content, []


def _fault(name: str, value: Any, thresholds: Mapping[str, Threshold]) -> str | None:
    if name not in thresholds:
        return f"{name!r} is not a condition with a threshold; these are {', '.join(sorted(thresholds))}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        return f"{name} is {value!r}, not a number from 0 up"
    return None


def differing_alarms(thresholds: Mapping[str, Threshold], alarms: Mapping[str, float]) -> dict[str, str]:
    """A warning for each condition whose CloudWatch alarm differs. `alarms` has the alarms' thresholds by condition."""
    return {
        name: f"its CloudWatch alarm is set to {alarms[name]:g}, the monitor to {limit.value:g} ({limit.source})"
        for name, limit in thresholds.items()
        if name in alarms and alarms[name] != limit.value and limit.source != FROM_HISTORY
    }
