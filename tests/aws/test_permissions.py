"""Least privilege from both sides: the policies allow exactly what the code calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dbt.adapters.athena
import pytest

from include.aws.deploy import SCHEMAS
from include.aws.document import TEMPLATE, parse
from include.aws.permissions import NOT_GRANTED, POLICIES
from include.settings import PROJECT_ROOT, WarehouseSettings
from include.transform.manifest import manifest
from tests.aws.api_calls import actions_in, actions_under

CODE = {
    "ConsumerPolicy": ("include/ingest", "include/landing"),
    "AirflowPolicy": (
        "include/on_airflow",
        "include/monitoring",
        "include/state",
        "include/transform",
        "dags",
        "plugins",
    ),
}
"""Policy -> the code that runs under it. include/local runs on the laptop, include/aws as the deployer."""


def statements(policy: str) -> list[dict[str, Any]]:
    resource = parse(TEMPLATE.read_text())["Resources"][policy]
    entries: list[dict[str, Any]] = resource["Properties"]["PolicyDocument"]["Statement"]
    return entries


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_notices_go_to_the_alert_topic_only() -> None:
    publishing = [entry for entry in statements("AirflowPolicy") if "sns:Publish" in listed(entry["Action"])]
    assert [entry["Resource"] for entry in publishing] == [{"Ref": "AlertTopic"}]


def allowed(policy: str) -> set[str]:
    return {action for statement in statements(policy) for action in listed(statement["Action"])}


@pytest.mark.parametrize("policy", POLICIES)
def test_the_template_allows_exactly_the_actions_of_the_table(policy: str) -> None:
    table = [permission.action for permission in POLICIES[policy]]
    assert len(table) == len(set(table)), "an action is explained twice"
    assert allowed(policy) == set(table)
    assert all(permission.why for permission in POLICIES[policy])


@pytest.mark.parametrize("policy", CODE)
def test_the_code_calls_exactly_the_actions_of_the_table(policy: str) -> None:
    calls = actions_under(PROJECT_ROOT / folder for folder in CODE[policy])
    allowed = {permission.action for permission in POLICIES[policy] if "our code" in permission.used_by}
    missing = {action: [path.name for path in calls[action]] for action in set(calls) - allowed}
    assert not missing, f"these calls are not allowed by {policy}: add them to include/aws/permissions.py and template"
    assert not allowed - set(calls), f"{policy} allows actions that no code calls: remove them"


def test_each_call_of_dbt_athena_is_allowed_or_refused_with_a_reason() -> None:
    calls = set(actions_under([Path(dbt.adapters.athena.__file__).parent]))
    table = {permission.action for permission in POLICIES["AirflowPolicy"] if "dbt-athena" in permission.used_by}
    refused = {action for action in calls if action in NOT_GRANTED or f"{action.split(':')[0]}:*" in NOT_GRANTED}
    assert not refused & table
    assert calls - refused == table


def test_a_new_call_in_the_code_is_recognised() -> None:
    assert actions_in("s3.delete_objects(Bucket=b, Delete=d)") == {"s3:DeleteObject"}
    assert actions_in("client.get_paginator('list_object_versions').paginate(Bucket=b)") == {"s3:ListBucketVersions"}
    assert actions_in("obstore.delete(store, key)") == {"s3:DeleteObject"}
    assert actions_in("await obstore.put_async(store, key, body)") == {"s3:PutObject"}
    assert actions_in("sns.publish(TopicArn=arn, Message=text)") == {"sns:Publish"}
    assert actions_in("cloudwatch.publish(client, namespace)") == set()
    assert actions_in("glue_client.get_database(Name=n)") == {"glue:GetDatabase"}
    assert actions_in("athena_client.get_database(CatalogName=c, DatabaseName=n)") == {"athena:GetDatabase"}


def test_the_producer_calls_no_aws_api() -> None:
    sources = [PROJECT_ROOT / "include/ingest/producer.py", *(PROJECT_ROOT / "include/ingest/sources").glob("*.py")]
    for path in sources:
        assert actions_in(path.read_text()) == set(), path
        assert "boto" not in path.read_text()
        assert "obstore" not in path.read_text()


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_has_wildcard_actions_or_resources(policy: str) -> None:
    for statement in statements(policy):
        assert statement["Effect"] == "Allow"
        assert all("*" not in action for action in listed(statement["Action"]))
        if "*" in listed(statement["Resource"]):
            # These actions have no resources (service authorization reference of CloudWatch and Athena).
            assert set(listed(statement["Action"])) <= {
                "cloudwatch:PutMetricData",
                "cloudwatch:GetMetricData",
                "cloudwatch:DescribeAlarms",
                "athena:ListDataCatalogs",
                "athena:ListWorkGroups",
            }


@pytest.mark.parametrize("policy", ["ConsumerPolicy", "AirflowPolicy"])
def test_metrics_go_to_the_projects_namespace_only(policy: str) -> None:
    publishing = [entry for entry in statements(policy) if "cloudwatch:PutMetricData" in listed(entry["Action"])]
    assert [entry["Condition"] for entry in publishing] == [
        {"StringEquals": {"cloudwatch:namespace": {"Ref": "MetricNamespace"}}}
    ]


def test_no_policy_allows_to_delete_landed_files() -> None:
    assert not [action for action in allowed("ConsumerPolicy") if "Delete" in action]
    for policy in POLICIES:
        for statement in statements(policy):
            if any("Delete" in action and action.startswith("s3:") for action in listed(statement["Action"])):
                places = [place["Fn::Sub"].split("${BucketName}/")[1] for place in listed(statement["Resource"])]
                assert places == ["${WarehousePrefix}*", "${QueryResultsPrefix}*"]


def test_bi_readers_cannot_read_landed_files_or_state() -> None:
    for statement in statements("BiReaderPolicy"):
        if {"s3:GetObject", "s3:PutObject"} & set(listed(statement["Action"])):
            for place in listed(statement["Resource"]):
                key = place["Fn::Sub"].split("${BucketName}/")[1]
                assert key.startswith(("${WarehousePrefix}${DatabaseName}_", "${QueryResultsPrefix}bi/")), key


def databases_read(manifest: dict[str, Any], node_id: str) -> set[str]:
    """Suffixes of the databases that a reader of the node needs: a view reads with the rights of its reader."""
    node = manifest["nodes"][node_id]
    own = {node["schema"].removeprefix(WarehouseSettings().database)}
    if node["config"]["materialized"] != "view":
        return own
    return own.union(*(databases_read(manifest, upstream) for upstream in node["depends_on"]["nodes"]))


def test_bi_readers_may_read_everything_that_dashboards_need() -> None:
    """They need schema, files and listing of every database that the exposures' models and their views read."""
    granted = {
        entry["Sid"]: {place["Fn::Sub"] for place in listed(entry["Resource"]) if place != "*"}
        for entry in statements("BiReaderPolicy")
    }
    [listing] = [
        entry["Condition"]["StringLike"]["s3:prefix"]
        for entry in statements("BiReaderPolicy")
        if entry["Sid"] == "FindFiles"
    ]
    granted["FindFiles"] = {prefix["Fn::Sub"] for prefix in listing}
    project = json.loads(manifest().read_text())
    read = [node for exposure in project["exposures"].values() for node in exposure["depends_on"]["nodes"]]
    used = set[str]().union(*(databases_read(project, node) for node in read))
    assert used >= {"_gold", "_silver", "_monitoring"}
    glue = "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}"
    files = "${WarehousePrefix}${DatabaseName}%s/*"
    needed = {
        "ReadSchemas": [f"{glue}:database/${{DatabaseName}}%s", f"{glue}:table/${{DatabaseName}}%s/*"],
        "ReadTables": [f"arn:${{AWS::Partition}}:s3:::${{BucketName}}/{files}"],
        "FindFiles": [files],
    }
    for sid, forms in needed.items():
        assert {form % database for form in forms for database in used} <= granted[sid]


def test_airflow_may_build_only_in_the_databases_of_dbt() -> None:
    """A prefix would also match `NAME_prod`, another environment."""
    [statement] = [entry for entry in statements("AirflowPolicy") if entry["Sid"] == "BuildTables"]
    places = [place["Fn::Sub"].rpartition(":")[2] for place in listed(statement["Resource"])]
    names = ["${DatabaseName}", *(f"${{DatabaseName}}_{schema}" for schema in SCHEMAS)]
    assert sorted(places) == sorted(
        ["catalog", *(f"database/{name}" for name in names), *(f"table/{name}/*" for name in names)]
    )
    project = json.loads(manifest().read_text())
    assert {node["config"].get("schema") for node in project["nodes"].values()} - {None} == set(SCHEMAS)
