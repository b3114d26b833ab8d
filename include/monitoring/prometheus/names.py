"""The names and units of the catalogue's metrics in Prometheus. Pure.

Prometheus' conventions: lower case, the base unit last, and a share from 0 to 1 (a ratio) instead of percent.
https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import re

from include.catalogue import LAYER, METRICS, STAGES, Metric, Unit

PREFIX = "crypto_lakehouse_"
THRESHOLD = f"{PREFIX}threshold"
CONDITION = f"{PREFIX}condition"
ALERT = f"{PREFIX}alert_begin_timestamp_seconds"
MEASURED = f"{PREFIX}measured_timestamp_seconds"
LAYER_ROWS = f"{PREFIX}layer_rows"
LAYER_BUILT = f"{PREFIX}layer_built_timestamp_seconds"
UNREADABLE = f"{PREFIX}unreadable_objects"

_SUFFIX: dict[Unit, str] = {"Seconds": "seconds", "Bytes": "bytes", "Percent": "ratio", "Count/Second": "per_second"}
_PERCENT = 100
STAGE_OF = {f"LatencyTo{stage.capitalize()}": stage for stage in STAGES}
"""Metrics that are known as percentiles of a layer's last build -> the stage."""

OTHERS: dict[str, tuple[tuple[str, ...], str]] = {
    THRESHOLD: (("condition",), "The threshold in force, in the unit of the condition's metric here."),
    CONDITION: (
        ("condition", "severity"),
        "1 while the condition is breached or an alert about it is open, 0 while all is well. Absent while nothing is "
        "known.",
    ),
    ALERT: (
        ("key", "condition", "severity", "cause"),
        "Begin of each open alert by its first evidence. `cause` is the key of the alert that explains it, or empty.",
    ),
    MEASURED: ((), "Time of the monitor's last run."),
    LAYER_ROWS: (("layer",), "Rows of the layer's main table after its last build."),
    LAYER_BUILT: (("layer",), "End of the layer's last build."),
    UNREADABLE: ((), "State objects whose content cannot be read. The API server's log has the reasons."),
}
"""Metrics that are not in the catalogue: name -> labels after `environment`, and meaning."""


def metric_name(metric: Metric) -> str:
    """Like crypto_lakehouse_data_age_seconds. The unit's word stands once, at the end."""
    words = [word.lower() for word in re.findall(r"[A-Z][a-z]*", metric.name)]
    suffix = _SUFFIX.get(metric.unit, "")
    return PREFIX + "_".join([word for word in words if word != suffix] + ([suffix] if suffix else []))


def labels(metric: Metric) -> tuple[str, ...]:
    """Names of the metric's labels after `environment`."""
    if metric.name in STAGE_OF:
        return ("percentile",)
    return ("layer",) if LAYER in metric.dimensions else ()


def in_base_unit(value: float, unit: Unit) -> float:
    """A number of the catalogue in Prometheus' unit."""
    return value / _PERCENT if unit == "Percent" else value


def every_series() -> dict[str, tuple[tuple[str, ...], str]]:
    """Each metric with its labels after `environment`, and its meaning."""
    catalogued = {metric_name(metric): (labels(metric), metric.meaning) for metric in METRICS.values()}
    return catalogued | OTHERS


def selector(metric: Metric, layer: str | None) -> str:
    """The series of a metric by PromQL, of one layer if the metric has layers."""
    return f'{metric_name(metric)}{{layer="{layer}"}}' if layer else metric_name(metric)


def reference() -> list[str]:
    """One row of the table in docs/prometheus.md for each metric that the monitor's state has."""
    rows = ["| metric | labels | meaning |", "|---|---|---|"]
    for name, (label_names, meaning) in every_series().items():
        rows.append(f"| `{name}` | {', '.join(f'`{label}`' for label in label_names)} | {meaning} |")
    return rows
