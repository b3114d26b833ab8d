"""From the state objects to the samples of one scrape. Pure.

An unknown number has no sample, and an unknown condition neither: PromQL treats an absent series as "not known", while
NaN would spoil sums and averages. Every metric has its HELP and TYPE, also without a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily

from include.catalogue import CONDITIONS, METRICS, MONITOR_SILENT_AFTER, Condition, metric_of
from include.monitoring.prometheus import names
from include.monitoring.prometheus.objects import StateObjects
from include.state.layer_state import LayerState

Sample = tuple[str, tuple[str, ...], float]
"""Name of the metric, values of its labels after `environment`, value."""


def families(objects: StateObjects, environment: str, now: datetime) -> list[GaugeMetricFamily]:
    """Every metric, with its samples at `now`; each sample has the label `environment`."""
    gauges = {
        name: GaugeMetricFamily(name, meaning, labels=("environment", *label_names))
        for name, (label_names, meaning) in names.every_series().items()
    }
    for name, values, number in _samples(objects, now):
        gauges[name].add_metric((environment, *values), number)
    return list(gauges.values())


def _samples(objects: StateObjects, now: datetime) -> Iterator[Sample]:
    yield from _numbers(objects, now)
    for layer, state in objects.layers.items():
        if state:
            yield names.LAYER_ROWS, (layer,), state.rows
            yield names.LAYER_BUILT, (layer,), state.finished_at.timestamp()
            yield from _latencies(state)
    for condition in CONDITIONS.values():
        breached = _breached(condition, objects, now)
        if breached is not None:
            yield names.CONDITION, (condition.name, condition.severity), float(breached)
    for alert in objects.alerts.open.values() if objects.alerts else ():
        labels = (alert.key, alert.condition, alert.severity, alert.cause or "")
        yield names.ALERT, labels, alert.begin_at.timestamp()
    yield names.UNREADABLE, (), len(objects.unreadable)


def _numbers(objects: StateObjects, now: datetime) -> Iterator[Sample]:
    """The monitor's numbers while they are those of now; thresholds and the time of its last run at any time."""
    known = objects.numbers
    if known is None:
        return
    yield names.MEASURED, (), known.at.timestamp()
    for name, threshold in known.thresholds.items():
        metric = metric_of(CONDITIONS[name]) if name in CONDITIONS else None
        if metric:  # a monitor of another version may know other conditions and metrics
            yield names.THRESHOLD, (name,), names.in_base_unit(threshold, metric.unit)
    if now - known.at > MONITOR_SILENT_AFTER:
        return
    for number in known.numbers:
        metric = METRICS.get(number.metric)
        if metric and metric.name not in names.STAGE_OF:
            layer = (number.layer,) if number.layer else ()
            yield names.metric_name(metric), layer, names.in_base_unit(number.value, metric.unit)


def _latencies(state: LayerState) -> Iterator[Sample]:
    """Percentiles of the layer's last build; none at a stage that it brought no new record."""
    for metric, stage in names.STAGE_OF.items():
        recent = state.latency.get(stage) if state.latency else None
        if recent and (last := recent.last):
            percentiles = {"50": last.p50, "95": last.p95, "99": last.p99, "100": last.maximum}
            for percentile, seconds in percentiles.items():
                yield names.metric_name(METRICS[metric]), (percentile,), seconds


def _breached(condition: Condition, objects: StateObjects, now: datetime) -> bool | None:
    """Whether a condition is breached; None when that is not known."""
    if objects.alerts and any(alert.condition == condition.name for alert in objects.alerts.open.values()):
        return True
    if condition.name == "monitor_silent":
        return now - objects.judged.at > MONITOR_SILENT_AFTER if objects.judged else None
    if not condition.checked:  # only an alert can show it
        return None if objects.alerts is None else False
    if objects.judged is None or now - objects.judged.at > MONITOR_SILENT_AFTER:
        return None
    verdict = objects.judged.conditions.get(condition.name)
    return None if verdict is None or verdict.outcome == "unknown" else verdict.outcome == "breached"
