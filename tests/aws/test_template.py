"""The template agrees with everything that it repeats: settings, metric catalogue, dbt sources, key layout.

Each property of alarms and dashboard is compared with the catalogue directly, without the renderer that wrote it.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from include.aws.deploy import MAX_TEMPLATE_BYTES
from include.aws.document import TEMPLATE, compact, parse
from include.aws.parameters import from_settings
from include.aws.template_parts import alarm_id
from include.catalogue import CONDITIONS, LAYERS, METRICS, Condition, alarm_name, dimension_values
from include.settings import PREFIX_PATTERN, PROJECT_ROOT, StorageSettings, load
from include.transform import test_history
from tests.project_facts import environment_variables

Template = dict[str, Any]

ALARMED = [condition for condition in CONDITIONS.values() if condition.alarm]


@pytest.fixture(scope="module")
def template() -> Template:
    return parse(TEMPLATE.read_text())


def of_kind(template: Template, kind: str) -> dict[str, Any]:
    return {
        name: resource["Properties"] for name, resource in template["Resources"].items() if resource["Type"] == kind
    }


# ---- the file


def test_the_template_fits_into_one_request_with_room_for_more_alarms() -> None:
    assert len(compact(TEMPLATE.read_text())) < MAX_TEMPLATE_BYTES - 1000


def test_the_compact_form_has_the_same_content(template: Template) -> None:
    assert json.loads(compact(TEMPLATE.read_text())) == template


# ---- parameters, outputs and settings


def test_the_defaults_are_those_of_the_settings(template: Template) -> None:
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    for name, value in from_settings(load()).items():
        assert defaults[name] == value, name


def test_each_prefix_is_a_parameter_with_the_pattern_of_the_settings(template: Template) -> None:
    patterns = {
        parameter["Description"]: parameter.get("AllowedPattern")
        for name, parameter in template["Parameters"].items()
        if name.endswith("Prefix")
    }
    assert len(patterns) == len(load().storage.prefixes())
    for field in load().storage.prefixes():
        assert [pattern for text, pattern in patterns.items() if f"(S3_{field.upper()})" in text] == [PREFIX_PATTERN]


def test_variables_named_by_parameters_and_outputs_exist(template: Template) -> None:
    names = set()
    for section in ("Parameters", "Outputs"):
        for entry in template[section].values():
            names |= set(re.findall(r"\b(?:S3|WAREHOUSE|MONITOR|ALERT|AWS)_[A-Z_]+\b", entry.get("Description", "")))
    assert names
    assert names <= environment_variables()


def test_every_parameter_from_the_settings_is_an_output_too(template: Template) -> None:
    outputs = {output["Description"] for output in template["Outputs"].values()}
    for name in from_settings(load()):
        if name.startswith("AlertEmail") or name == "RunbookUrl":
            continue
        variable = re.search(r"\(([A-Z_0-9]+)\)", template["Parameters"][name]["Description"])
        assert variable is not None, name
        assert variable[1] in outputs


# ---- tables


TABLES = {
    "crypto_raw_data": "DataPrefix",
    "dead_letter_data": "DeadLetterPrefix",
    "test_history_data": "TestHistoryPrefix",
}


def test_tables_have_one_column_of_lines_and_a_projected_day(template: Template) -> None:
    resources = of_kind(template, "AWS::Glue::Table").values()
    tables = {resource["TableInput"]["Name"]: resource["TableInput"] for resource in resources}
    assert set(tables) == set(TABLES)
    for name, prefix in TABLES.items():
        table, storage = tables[name], tables[name]["StorageDescriptor"]
        assert [(column["Name"], column["Type"]) for column in storage["Columns"]] == [("line", "string")]
        assert [(key["Name"], key["Type"]) for key in table["PartitionKeys"]] == [("dt", "string")]
        assert storage["SerdeInfo"]["SerializationLibrary"].endswith(".LazySimpleSerDe")
        assert storage["SerdeInfo"]["Parameters"]["field.delim"] == "\x01"
        assert storage["Location"] == {"Fn::Sub": f"s3://${{BucketName}}/${{{prefix}}}"}
        assert table["Parameters"]["projection.dt.format"] == "yyyy/MM/dd"
        location = table["Parameters"]["storage.location.template"]
        assert location == {"Fn::Join": ["", ["s3://", {"Ref": "BucketName"}, "/", {"Ref": prefix}, "${dt}/"]]}


def test_dbt_reads_the_tables_of_the_template() -> None:
    sources = yaml.safe_load((PROJECT_ROOT / "include/dbt/models/landing/sources.yml").read_text())["sources"]
    landing = next(source for source in sources if source["name"] == "landing")
    for table in landing["tables"]:
        assert table["name"] in TABLES
        assert {column["name"] for column in table.get("columns", [])} <= {"line", "dt"}


def test_the_test_history_has_the_prefix_of_its_table() -> None:
    key = test_history.key(StorageSettings(), "some-id", datetime(2026, 11, 3, tzinfo=UTC))
    assert key.startswith("test_history/2026/11/03/")


def test_resources_with_data_outlive_the_stack(template: Template) -> None:
    for name in ("Bucket", "BucketPolicy", "Database"):
        assert template["Resources"][name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert template["Resources"][name]["UpdateReplacePolicy"] == "Retain"


def test_query_results_expire_and_tables_do_not(template: Template) -> None:
    rules = of_kind(template, "AWS::S3::Bucket")["Bucket"]["LifecycleConfiguration"]["Rules"]
    expiring = [rule["Fn::If"][1] if "Fn::If" in rule else rule for rule in rules]
    assert [rule["Prefix"]["Ref"] for rule in expiring if "ExpirationInDays" in rule] == [
        "QueryResultsPrefix",
        "DeadLetterPrefix",
    ]
    # If the workgroup enforced its output location, dbt's tables would be among the query results.
    workgroup = of_kind(template, "AWS::Athena::WorkGroup")["Workgroup"]["WorkGroupConfiguration"]
    assert workgroup["EnforceWorkGroupConfiguration"] is False


# ---- alarms


def test_conditions_and_alarms_match_one_to_one(template: Template) -> None:
    alarms = of_kind(template, "AWS::CloudWatch::Alarm")
    assert sorted(alarm["AlarmName"]["Fn::Sub"] for alarm in alarms.values()) == sorted(
        alarm_name(condition, "${EnvironmentName}") for condition in ALARMED
    )


def alarm_of(template: Template, condition: Condition) -> Any:
    name = alarm_name(condition, "${EnvironmentName}")
    alarms = of_kind(template, "AWS::CloudWatch::Alarm").values()
    return next(alarm for alarm in alarms if alarm["AlarmName"]["Fn::Sub"] == name)


@pytest.mark.parametrize("condition", ALARMED, ids=lambda condition: condition.name)
def test_the_alarm_has_the_properties_of_its_condition(condition: Condition, template: Template) -> None:
    alarm = alarm_of(template, condition)
    assert condition.metric is not None
    metric = METRICS[condition.metric]
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
    assert dimensions.pop("Environment") == {"Ref": "EnvironmentName"}
    assert {"Environment": "x"} | dimensions == dimension_values(metric, "x", condition.layer)
    assert alarm["Namespace"] == {"Ref": "MetricNamespace"}
    assert (alarm["MetricName"], alarm["Statistic"]) == (metric.name, metric.statistic)
    assert (alarm["Period"], alarm["EvaluationPeriods"]) == (metric.period_seconds, condition.periods)
    assert alarm["ComparisonOperator"] == {">": "GreaterThanThreshold", "<": "LessThanThreshold"}[condition.comparison]
    assert alarm["TreatMissingData"] == condition.alarm_missing
    assert alarm["Threshold"] == {"Ref": condition.parameter}
    assert template["Parameters"][condition.parameter]["Default"] == condition.threshold
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlertTopic"}]
    assert alarm["AlarmDescription"]["Fn::Sub"].endswith("${RunbookUrl}" + condition.runbook)
    assert len(alarm["AlarmDescription"]["Fn::Sub"]) < 900  # CloudWatch allows 1024 with the URL


def test_an_alarm_starts_when_the_heartbeat_stops(template: Template) -> None:
    alarm = alarm_of(template, CONDITIONS["monitor_silent"])
    assert alarm["MetricName"] == "MonitorHeartbeat"
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["Period"] * alarm["EvaluationPeriods"] <= 3600


def test_the_composite_alarm_has_every_alarm_of_severity_error(template: Template) -> None:
    rule = of_kind(template, "AWS::CloudWatch::CompositeAlarm")["UnhealthyAlarm"]["AlarmRule"]["Fn::Sub"]
    errors = [f'ALARM("${{{alarm_id(condition)}}}")' for condition in ALARMED if condition.severity == "error"]
    assert " ".join(rule.split()) == " OR ".join(errors)


# ---- dashboard


@pytest.fixture(scope="module")
def widgets(template: Template) -> list[Any]:
    body, variables = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    body = body.replace("${Unhealthy}", "").replace("${Region}", '"region":"here"')
    body = body.replace("${Graph}", variables["Graph"])
    body = body.replace("${Env}", '"Environment","${EnvironmentName}"')
    # Each threshold becomes its condition's default, so that the text is JSON.
    for condition in ALARMED:
        body = body.replace(f'"value":${{{condition.parameter}}}', f'"value":{condition.threshold}')
    parsed: list[Any] = json.loads(body)["widgets"]
    return parsed


def series(widgets: list[Any], *kinds: str) -> set[tuple[str, ...]]:
    return {
        tuple(part for part in line if isinstance(part, str))
        for widget in widgets
        if widget["properties"].get("view", "timeSeries") in kinds and "metrics" in widget["properties"]
        for line in widget["properties"]["metrics"]
    }


def test_the_dashboard_shows_every_metric_as_a_trend(widgets: list[Any]) -> None:
    expected = {
        (
            "${Space}",
            metric.name,
            *(part for pair in dimension_values(metric, "${EnvironmentName}", layer).items() for part in pair),
        )
        for metric in METRICS.values()
        for layer in (LAYERS if "Layer" in metric.dimensions else (None,))
    }
    assert series(widgets, "timeSeries") == expected
    assert series(widgets, "singleValue") < expected


def test_the_dashboard_shows_every_alarm_and_links_its_runbook(widgets: list[Any]) -> None:
    states = next(widget for widget in widgets if widget["type"] == "alarm")
    assert states["properties"]["alarms"] == [f"${{{alarm_id(condition)}.Arn}}" for condition in ALARMED]
    text = next(widget for widget in widgets if widget["type"] == "text")["properties"]["markdown"]
    for condition in ALARMED:
        assert f"[{condition.title}](${{RunbookUrl}}{condition.runbook})" in text


@pytest.mark.parametrize("condition", ALARMED, ids=lambda condition: condition.name)
def test_the_dashboard_draws_each_threshold_on_its_metric(condition: Condition, widgets: list[Any]) -> None:
    graphs = [
        widget["properties"]
        for widget in widgets
        if any(
            line["label"] == condition.title
            for line in widget["properties"].get("annotations", {}).get("horizontal", [])
        )
    ]
    assert len(graphs) == 1
    assert condition.metric in graphs[0]["metrics"][0]
    assert condition.layer is None or condition.layer in graphs[0]["metrics"][0]
    line = next(line for line in graphs[0]["annotations"]["horizontal"] if line["label"] == condition.title)
    assert line["value"] == condition.threshold
    assert line["fill"] == ("above" if condition.comparison == ">" else "below")


def test_a_graph_has_the_statistic_and_period_of_its_metric(widgets: list[Any]) -> None:
    for widget in widgets:
        for line in widget["properties"].get("metrics", []):
            options = line[-1] if isinstance(line[-1], dict) else {}
            metric = METRICS[line[1]]
            period = options.get("period", widget["properties"].get("period", 300))
            assert period == metric.period_seconds
            assert options.get("stat", "Average") in {metric.statistic, "p99"}
