"""Grafana's dashboard: its places, and its queries as a parser of PromQL reads them."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import promql_parser
import pytest
from promql_parser import BinaryExpr, Expr, VectorSelector

from include.catalogue import CONDITIONS, LAYERS, METRICS
from include.monitoring.prometheus import names
from include.settings import PROJECT_ROOT

DASHBOARD: dict[str, Any] = json.loads((PROJECT_ROOT / "deploy" / "grafana" / "crypto_lakehouse.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]


def selectors(expression: Expr) -> list[VectorSelector]:
    if isinstance(expression, VectorSelector):
        return [expression]
    return [*selectors(expression.lhs), *selectors(expression.rhs)] if isinstance(expression, BinaryExpr) else []


def shown(panel: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Each series of a panel's queries: its name and its labels."""
    found = [selector for target in panel["targets"] for selector in selectors(promql_parser.parse(target["expr"]))]
    return [(str(each.name), {matcher.name: matcher.value for matcher in each.matchers.matchers}) for each in found]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_shows_series_that_exist_of_one_environment(panel: dict[str, Any]) -> None:
    series = names.every_series()
    assert shown(panel)
    for name, labels in shown(panel):
        assert labels.pop("environment") == "$environment"
        assert labels.keys() <= set(series[name][0])
    letters = [target["refId"] for target in panel["targets"]]
    assert len(letters) == len(set(letters))


def test_every_metric_has_a_graph_with_all_its_thresholds() -> None:
    graphs = [shown(panel) for panel in PANELS if panel["type"] == "timeseries"]
    for metric in METRICS.values():
        name = names.metric_name(metric)
        layers: tuple[str | None, ...] = LAYERS if "layer" in names.labels(metric) else (None,)
        for layer in layers:
            own = {"environment": "$environment"} | ({"layer": layer} if layer else {})
            [graph] = [graph for graph in graphs if (name, own) in graph]
            limits = [labels["condition"] for name, labels in graph if name == names.THRESHOLD]
            assert limits == [c.name for c in CONDITIONS.values() if (c.metric, c.layer) == (metric.name, layer)]


def test_panels_do_not_overlap_and_stay_in_the_width() -> None:
    cells = {}
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells[panel["id"]] = {(x, y) for x in columns for y in rows}
    assert len(cells) == len(PANELS)
    assert all(not (left & right) for left, right in combinations(cells.values(), 2))


def test_variables_are_those_that_the_panels_use() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "environment"]
    assert names.CONDITION in variables["environment"]["query"]
    sources = {json.dumps(panel["datasource"]) for panel in PANELS}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}


def test_a_number_takes_the_colour_of_its_threshold() -> None:
    [lag] = [panel for panel in PANELS if panel["type"] == "stat" and panel["title"] == "Consumer Lag"]
    steps = lag["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps == [{"value": None, "color": "green"}, {"value": 1000, "color": "red"}]
