"""The parts of template.yaml that follow from the metric catalogue.

include/generated.py writes them between the marks `# >>> NAME` and `# <<< NAME`. All other lines of the template are
written by hand. So the template stays one file that can be read and deployed alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from include.catalogue import CONDITIONS, LAYERS, METRICS, Condition, Layer, Metric, alarm_name, metric_of

_COMPARISON = {">": "GreaterThanThreshold", "<": "LessThanThreshold"}
_LATEST = ("SumOffsetLag", "EstimatedMaxTimeLag", "MessagesConsumed", "ObjectsLastHour", "FailingTests", "UploadErrors")
"""Numbers in the top row of the dashboard, next to the age of gold."""

_COMPANIONS = {
    "MaxOffsetLag": "SumOffsetLag",
    "BatchSizeLastHour": "BatchSize",
    "AuditFindings": "FailingTests",
    "DriftingFields": "FailingTests",
    "LatencyToBronze": "LatencyToLanded",
    "LatencyToSilver": "LatencyToLanded",
    "LatencyToGold": "LatencyToLanded",
}
"""Metrics without their own graph -> the metric in whose graph they are drawn."""

_COLUMNS = 24
"""Width of a CloudWatch dashboard in grid units."""
_REGION = {"<<Region>>": 0}
"""The region of a widget. Every widget has one, so Sub inserts it: the template's size is limited."""
_GRAPH = '"type":"metric","width":8,"properties":{"title":'
"""The beginning of each graph. Sub inserts it, for the same reason."""
_DEFAULT_PERIOD = 300
"""Seconds that CloudWatch takes for a graph that names no period."""


class TemplateError(ValueError):
    """The catalogue has a condition or a metric from which no alarm or graph can be made."""


def with_alarm() -> list[Condition]:
    """The conditions that have an alarm, in the catalogue's order."""
    return [condition for condition in CONDITIONS.values() if condition.alarm]


def alarm_id(condition: Condition) -> str:
    """Logical id of the condition's alarm, like KafkaLagAlarm."""
    return condition.parameter.removesuffix("Threshold") + "Alarm"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    return f"{value:g}" if value < 1e6 else f"{value:.0f}"


def _metric(condition: Condition) -> Metric:
    metric = metric_of(condition)
    if metric is None:
        raise TemplateError(f"condition {condition.name} has alarm=True but no metric: give it one, or alarm=False")
    return metric


def _minutes(condition: Condition) -> int:
    return condition.periods * _metric(condition).period_seconds // 60


def _dimensions(metric: Metric, layer: Layer | None) -> dict[str, str]:
    values = {"Environment": "${EnvironmentName}"}
    if "Layer" in metric.dimensions:
        if layer is None:
            raise TemplateError(f"metric {metric.name} is kept by layer: a condition or widget must name one")
        values["Layer"] = layer
    return values


def thresholds() -> Iterator[str]:
    """One parameter for each condition, with the catalogue's threshold as its default."""
    for condition in with_alarm():
        metric = _metric(condition)
        yield f"  {condition.parameter}:"
        yield "    Type: Number"
        yield f"    Default: {_number(condition.threshold)}"
        yield "    Description: " + _quoted(
            f"{metric.name} ({metric.unit}) {condition.comparison} this for {_minutes(condition)} minutes."
        )


def alarms() -> Iterator[str]:
    """One alarm for each condition, and the composite alarm over the errors."""
    for condition in with_alarm():
        metric = _metric(condition)
        yield f"  {alarm_id(condition)}:"
        yield "    Type: AWS::CloudWatch::Alarm"
        yield "    Properties:"
        yield f"      AlarmName: !Sub {_quoted(alarm_name(condition, '${EnvironmentName}'))}"
        yield "      AlarmDescription: !Sub " + _quoted(
            f"{condition.title}. {condition.meaning} What to do: ${{RunbookUrl}}{condition.runbook}"
        )
        yield "      Namespace: !Ref MetricNamespace"
        yield f"      MetricName: {metric.name}"
        dimensions = ", ".join(
            f"{{Name: {name}, Value: {value}}}" for name, value in _dimensions(metric, condition.layer).items()
        ).replace("${EnvironmentName}", "!Ref EnvironmentName")
        yield f"      Dimensions: [{dimensions}]"
        yield f"      Statistic: {metric.statistic}"
        yield f"      Period: {metric.period_seconds}"
        yield f"      EvaluationPeriods: {condition.periods}"
        yield f"      ComparisonOperator: {_COMPARISON[condition.comparison]}"
        yield f"      Threshold: !Ref {condition.parameter}"
        yield f"      TreatMissingData: {condition.alarm_missing}"
        yield "      AlarmActions: [!Ref AlertTopic]"
        yield "      OKActions: [!Ref AlertTopic]"
        yield ""
    yield "  # One state of the whole pipeline, for links and pagers. This alarm sends no mail, because each alarm"
    yield "  # in its rule sends a mail."
    yield "  UnhealthyAlarm:"
    yield "    Type: AWS::CloudWatch::CompositeAlarm"
    yield "    Condition: OnAws"
    yield "    Properties:"
    yield '      AlarmName: !Sub "crypto-lakehouse-${EnvironmentName}-unhealthy"'
    yield '      AlarmDescription: !Sub "The pipeline is unhealthy. The alarms that are on say why. ${RunbookUrl}"'
    yield "      AlarmRule: !Sub >-"
    errors = [condition for condition in with_alarm() if condition.severity == "error"]
    for condition in errors:
        yield f'        ALARM("${{{alarm_id(condition)}}}")' + (" OR" if condition is not errors[-1] else "")


def _series(metric: Metric, layer: Layer | None, **options: Any) -> list[Any]:
    """One line of a graph, without defaults and with Sub's short names, because the template's size is limited."""
    layers = [part for pair in _dimensions(metric, layer).items() if pair[0] != "Environment" for part in pair]
    if metric.statistic != "Average":
        options.setdefault("stat", metric.statistic)
    if metric.period_seconds != _DEFAULT_PERIOD:
        options["period"] = metric.period_seconds
    return ["${Space}", metric.name, "<<Env>>", *layers, *([options] if options else [])]


def _trend(metric: Metric, layer: Layer | None) -> dict[str, Any]:
    """A graph of one metric and its companions, with a line for each of its thresholds."""
    series = [_series(metric, layer)]
    series += [_series(METRICS[name], None) for name, host in _COMPANIONS.items() if host == metric.name]
    if metric.name == "UploadDuration":
        series.append(_series(metric, layer, stat="p99"))
    lines = [
        # Sub must insert the value as a number: dashboard() removes the quotes around it.
        {
            "label": condition.title,
            "value": f"<<${{{condition.parameter}}}>>",
            "fill": "above" if condition.comparison == ">" else "below",
        }
        for condition in with_alarm()
        if condition.metric == metric.name and condition.layer == layer
    ]
    properties: dict[str, Any] = {
        "title": f"{metric.title}, {layer}" if layer else metric.title,
        **_REGION,
        "metrics": series,
    }
    if lines:
        properties["annotations"] = {"horizontal": lines}
    return {"type": "metric", "width": 8, "properties": properties}


def _top() -> list[dict[str, Any]]:
    links = " · ".join(f"[{condition.title}](${{RunbookUrl}}{condition.runbook})" for condition in with_alarm())
    latest = [_series(METRICS[name], None, label=METRICS[name].title) for name in _LATEST]
    latest.append(_series(METRICS["DataAge"], "gold", label="Age of gold, s"))
    return [
        {
            "type": "alarm",
            "width": _COLUMNS,
            "height": 4,
            "properties": {
                "title": "Alarms",
                "alarms": ["<<Unhealthy>>", *(f"${{{alarm_id(condition)}.Arn}}" for condition in with_alarm())],
            },
        },
        {
            "type": "metric",
            "width": _COLUMNS,
            "height": 4,
            "properties": {
                "title": "Now",
                **_REGION,
                "view": "singleValue",
                "sparkline": True,
                "metrics": latest,
            },
        },
        {
            "type": "text",
            "width": _COLUMNS,
            "height": 3,
            "properties": {"markdown": f"**What to do when …** {links}"},
        },
    ]


def dashboard() -> Iterator[str]:
    """Alarm states, latest values, runbook links, and a graph of every metric in the catalogue."""
    trends = [
        _trend(metric, layer)
        for metric in METRICS.values()
        if metric.name not in _COMPANIONS
        for layer in (LAYERS if "Layer" in metric.dimensions else (None,))
    ]
    yield "  Dashboard:"
    yield "    Type: AWS::CloudWatch::Dashboard"
    yield "    Properties:"
    yield '      DashboardName: !Sub "crypto-lakehouse-${EnvironmentName}"'
    yield "      # Widgets without x and y are placed from left to right and top to bottom."
    yield "      DashboardBody: !Sub"
    yield "        - |"
    yield '          {"periodOverride":"inherit","start":"-PT6H","widgets":['
    widgets = _top() + trends
    for number, widget in enumerate(widgets, start=1):
        text = json.dumps(widget, ensure_ascii=False, separators=(",", ":"))
        text = text.replace('"<<Unhealthy>>",', "${Unhealthy}").replace('"<<Env>>"', "${Env}")
        text = text.replace('"<<Region>>":0', "${Region}")
        text = text.replace(_GRAPH, "${Graph}")
        text = re.sub(r'"<<(\$\{\w+\})>>"', r"\1", text)
        yield "          " + text + ("," if number < len(widgets) else "")
    yield "          ]}"
    yield "        - Space: !Ref MetricNamespace"
    yield f"          Graph: '{_GRAPH}'"
    yield '          Env: !Sub \'"Environment","${EnvironmentName}"\''
    yield '          Region: !Sub \'"region":"${AWS::Region}"\''
    yield '          Unhealthy: !If [OnAws, !Sub \'"${UnhealthyAlarm.Arn}",\', ""]'
