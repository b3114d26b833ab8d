"""The generated alert rules, as a parser of PromQL reads them, against the catalogue."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import promql_parser
import pytest
import yaml
from promql_parser import BinaryExpr, Call, VectorSelector

from include.catalogue import CONDITIONS, METRICS, Condition
from include.monitoring.prometheus import names, rules
from include.settings import PROJECT_ROOT

FILE = PROJECT_ROOT / "deploy" / "prometheus" / "crypto_lakehouse.rules.yaml"
[GROUP] = yaml.safe_load(FILE.read_text())["groups"]
RULES: list[dict[str, Any]] = GROUP["rules"]
OF = {rule["labels"]["condition"]: rule for rule in RULES if "condition" in rule["labels"]}
JUDGED = {"low_throughput", "monitor_silent", "task_failed", "run_late"}
"""Conditions of which PromQL sees too little: the rule takes the monitor's verdict."""


def matchers(selector: VectorSelector) -> dict[str, str]:
    return {matcher.name: matcher.value for matcher in selector.matchers.matchers}


def test_each_condition_has_one_rule() -> None:
    assert OF.keys() == CONDITIONS.keys()
    assert [rule["alert"] for rule in RULES if "condition" not in rule["labels"]] == [rules.NOT_SCRAPED]
    alerts = [rule["alert"] for rule in RULES]
    assert len(alerts) == len(set(alerts))


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=lambda condition: condition.name)
def test_a_rule_compares_the_metric_with_its_threshold(condition: Condition) -> None:
    expression = promql_parser.parse(OF[condition.name]["expr"])
    assert isinstance(expression, BinaryExpr)
    left = expression.lhs
    assert isinstance(left, VectorSelector)
    if condition.name in JUDGED:
        assert (left.name, matchers(left)) == (names.CONDITION, {"condition": condition.name})
        assert str(expression).endswith(" == 1")
        return
    metric = METRICS[str(condition.metric)]
    assert left.name == names.metric_name(metric)
    assert matchers(left) == ({"layer": condition.layer} if condition.layer else {})
    assert str(expression.op) == condition.comparison
    right = expression.rhs
    assert isinstance(right, VectorSelector)
    assert (right.name, matchers(right)) == (names.THRESHOLD, {"condition": condition.name})


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=lambda condition: condition.name)
def test_both_sides_of_a_rule_have_the_same_other_labels(condition: Condition) -> None:
    """Otherwise the comparison finds no pair, and the alert never starts."""
    if condition.name in JUDGED:
        return
    expression = promql_parser.parse(OF[condition.name]["expr"])
    assert isinstance(expression, BinaryExpr)
    assert expression.modifier
    assert expression.modifier.matching
    ignored = set(expression.modifier.matching.labels)
    series = names.every_series()
    for side in (expression.lhs, expression.rhs):
        assert isinstance(side, VectorSelector)
        assert set(series[str(side.name)][0]) <= ignored


@pytest.mark.parametrize("change", [{"periods": 2}, {"missing": "breaching"}, {"checked": False}, {"metric": None}])
def test_a_condition_of_which_promql_sees_too_little_is_judged(change: dict[str, Any]) -> None:
    condition = CONDITIONS["kafka_lag"]
    assert names.CONDITION not in rules.expression(condition)
    assert rules.expression(replace(condition, **change)) == f'{names.CONDITION}{{condition="kafka_lag"}} == 1'


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=lambda condition: condition.name)
def test_a_rule_says_what_users_notice_and_where_the_runbook_is(condition: Condition) -> None:
    rule = OF[condition.name]
    assert rule["labels"]["severity"] == condition.severity
    assert condition.title in rule["annotations"]["summary"]
    assert condition.notice in rule["annotations"]["description"]
    assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{condition.runbook}")
    assert ("$value" in rule["annotations"]["description"]) == (condition.name not in JUDGED)


def test_a_failed_scrape_is_an_alert_after_as_long_as_a_silent_monitor() -> None:
    [rule] = [rule for rule in RULES if rule["alert"] == rules.NOT_SCRAPED]
    expression = promql_parser.parse(rule["expr"])
    assert isinstance(expression, Call)
    assert (expression.func.name, rule["for"]) == ("absent", "15m")
    assert names.MEASURED in names.every_series()


def test_names_follow_the_conventions_of_prometheus() -> None:
    series = names.every_series()
    assert len(series) == len(METRICS) + len(names.OTHERS)
    for name in series:
        assert re.fullmatch(r"crypto_lakehouse_[a-z]+(_[a-z]+)*", name)
        assert not name.endswith("_total")
    ends = {"Seconds": "_seconds", "Bytes": "_bytes", "Percent": "_ratio", "Count/Second": "_per_second", "Count": ""}
    for metric in METRICS.values():
        name = names.metric_name(metric)
        assert name.endswith(ends[metric.unit])
        words = name.split("_")
        assert len(words) == len(set(words)) or metric.name == "EstimatedMaxTimeLag", name
