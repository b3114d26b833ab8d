"""Grafana's dashboard, made from the catalogue. `make generate` writes it to deploy/grafana/.

It has the classic dashboard model:
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from include.catalogue import CONDITIONS, LAYERS, METRICS, MONITOR_SECONDS, Condition, Layer, Metric, Unit
from include.monitoring.prometheus import names

Panel = dict[str, Any]
"""A panel of Grafana's model; its size is in `gridPos`."""
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_HERE = 'environment="$environment"'
_COLUMNS = 24
"""Width of a Grafana dashboard in grid units."""
_UNITS: dict[Unit, str] = {
    "Count": "short",
    "Count/Second": "cps",
    "Seconds": "s",
    "Bytes": "bytes",
    "Percent": "percentunit",
}
_LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
_TOOLTIP = {"mode": "multi", "sort": "none"}
_NEWEST_VALUE = {
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "graphMode": "area",
    "colorMode": "value",
    "justifyMode": "auto",
    "textMode": "auto",
    "orientation": "auto",
    "wideLayout": True,
    "showPercentChange": False,
    "percentChangeColorMode": "standard",
}
"""Options of a number without a graph's axes; Grafana's schema wants each of them."""
_LATEST = ("SumOffsetLag", "EstimatedMaxTimeLag", "MessagesConsumed", "ObjectsLastHour", "FailingTests")
"""Numbers in the top row, next to the age of gold."""


def lines() -> Iterator[str]:
    """The file of the dashboard."""
    yield from json.dumps(dashboard(), indent=2, ensure_ascii=False).splitlines()


def dashboard() -> dict[str, Any]:
    """Conditions and open alerts, the newest numbers, and a graph of every metric with its thresholds."""
    return {
        "uid": "crypto-lakehouse",
        "title": "Crypto Lakehouse",
        "description": "The pipeline's numbers and conditions. Made from include/catalogue.py by `make generate`.",
        "tags": ["crypto-lakehouse"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "refresh": "1m",
        "annotations": {"list": []},
        "templating": {"list": [_data_source(), _environment()]},
        "panels": _placed([_conditions(), _alerts(), *_newest(), *_graphs()]),
    }


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _environment() -> dict[str, Any]:
    query = f"label_values({names.CONDITION}, environment)"
    return {
        "name": "environment",
        "label": "Environment",
        "type": "query",
        "datasource": _SOURCE,
        "query": query,
        "definition": query,
        "refresh": 2,
    }


def _placed(panels: list[Panel]) -> list[Panel]:
    """The panels with ids and places, from left to right and top to bottom."""
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        size = panel["gridPos"]
        if x + size["w"] > _COLUMNS:
            x, y, height = 0, y + height, 0
        panel |= {"id": number, "gridPos": {"x": x, "y": y, **size}}
        x, height = x + size["w"], max(height, size["h"])
    return panels


def _panel(kind: str, title: str, targets: list[dict[str, Any]], width: int, height: int, **more: object) -> Panel:
    size = {"w": width, "h": height}
    return {"type": kind, "title": title, "datasource": _SOURCE, "targets": targets, "gridPos": size, **more}


def _query(letter: str, expression: str, legend: str, **more: object) -> dict[str, Any]:
    return {"refId": letter, "datasource": _SOURCE, "expr": expression, "legendFormat": legend, **more}


def _conditions() -> Panel:
    """A line for each condition: well, breached, or a gap while nothing is known."""
    words = {"0": {"text": "ok", "color": "green", "index": 0}, "1": {"text": "breached", "color": "red", "index": 1}}
    shown = {"mappings": [{"type": "value", "options": words}], "custom": {"fillOpacity": 80, "lineWidth": 0}}
    options = {"showValue": "never", "mergeValues": True, "rowHeight": 0.8, "alignValue": "left"}
    options |= {"legend": _LEGEND, "tooltip": _TOOLTIP}
    query = _query("A", f"{names.CONDITION}{{{_HERE}}}", "{{condition}}")
    config = {"defaults": shown, "overrides": []}
    return _panel("state-timeline", "Conditions", [query], _COLUMNS, 16, fieldConfig=config, options=options)


def _alerts() -> Panel:
    """A row for each open alert."""
    begin = _query("A", f"{names.ALERT}{{{_HERE}}} * 1000", "", instant=True, range=False, format="table")
    hidden = {"Time": True, "environment": True, "instance": True, "job": True, "condition": True}
    order = {"Value": 0, "severity": 1, "key": 2, "cause": 3}
    renamed = {"Value": "since", "key": "alert", "cause": "explained by"}
    organized = {"id": "organize", "options": {"excludeByName": hidden, "indexByName": order, "renameByName": renamed}}
    time = {"matcher": {"id": "byName", "options": "since"}, "properties": [{"id": "unit", "value": "dateTimeAsIso"}]}
    config = {"defaults": {}, "overrides": [time]}
    return _panel("table", "Open alerts", [begin], _COLUMNS, 6, fieldConfig=config, transformations=[organized])


def _newest() -> Iterator[Panel]:
    """The newest number of some metrics."""
    shown: list[tuple[str, Layer | None]] = [*((name, None) for name in _LATEST), ("DataAge", "gold")]
    for name, layer in shown:
        metric = METRICS[name]
        defaults = {"unit": _UNITS[metric.unit], "thresholds": _steps(_of(metric, layer))}
        yield _panel(
            "stat",
            _title(metric, layer),
            [_query("A", _series(metric, layer), "")],
            _COLUMNS // len(shown),
            4,
            description=metric.meaning,
            fieldConfig={"defaults": defaults, "overrides": []},
            options=_NEWEST_VALUE,
        )


def _steps(limits: list[Condition]) -> dict[str, Any]:
    """Colours by the catalogue's threshold; without a condition the number has no colour."""
    if not limits:
        return {"mode": "absolute", "steps": [{"value": None, "color": "text"}]}
    [limit] = limits
    metric = METRICS[str(limit.metric)]
    below, above = ("green", "red") if limit.comparison == ">" else ("red", "green")
    value = names.in_base_unit(limit.threshold, metric.unit)
    return {"mode": "absolute", "steps": [{"value": None, "color": below}, {"value": value, "color": above}]}


def _graphs() -> Iterator[Panel]:
    """A graph of every metric, and one for each layer where it has layers."""
    for metric in METRICS.values():
        layers: tuple[Layer | None, ...] = LAYERS if "layer" in names.labels(metric) else (None,)
        for layer in layers:
            yield _graph(metric, layer)


def _graph(metric: Metric, layer: Layer | None) -> Panel:
    """The numbers of a metric, and the thresholds that were in force at each time."""
    legend = "p{{percentile}}" if "percentile" in names.labels(metric) else metric.title
    queries = [_query("A", _series(metric, layer), legend)]
    for letter, condition in zip("BCDEF", _of(metric, layer), strict=False):
        limit = f'{names.THRESHOLD}{{{_HERE}, condition="{condition.name}"}}'
        queries.append(_query(letter, limit, f"threshold of {condition.name}"))
    line = {"spanNulls": 2 * MONITOR_SECONDS * 1000, "lineInterpolation": "stepAfter", "fillOpacity": 10}
    dashed = [{"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}}]
    dashed.append({"id": "color", "value": {"mode": "fixed", "fixedColor": "red"}})
    override = {"matcher": {"id": "byRegexp", "options": "/^threshold of /"}, "properties": dashed}
    config = {"defaults": {"unit": _UNITS[metric.unit], "custom": line}, "overrides": [override]}
    shown = {"description": metric.meaning, "fieldConfig": config, "options": {"legend": _LEGEND, "tooltip": _TOOLTIP}}
    return _panel("timeseries", _title(metric, layer), queries, 8, 7, **shown)


def _of(metric: Metric, layer: Layer | None) -> list[Condition]:
    """The conditions with a threshold of this metric."""
    return [each for each in CONDITIONS.values() if (each.metric, each.layer) == (metric.name, layer)]


def _series(metric: Metric, layer: Layer | None) -> str:
    of_layer = f', layer="{layer}"' if layer else ""
    return f"{names.metric_name(metric)}{{{_HERE}{of_layer}}}"


def _title(metric: Metric, layer: Layer | None) -> str:
    return f"{metric.title}, {layer}" if layer else metric.title
