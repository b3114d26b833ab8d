"""The template deployed to the real emulator. Each service's own API shows the result."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from include.aws import deploy
from include.aws.document import TEMPLATE, parse
from include.aws.parameters import StackParameterError
from include.catalogue import CONDITIONS, LAYERS, METRICS, MONITOR_METRICS, alarm_name
from include.ingest.cloudwatch import metric_data
from include.ingest.metrics import Window
from include.monitoring.checks import cloudwatch
from include.settings import Settings, load
from tests.aws.conftest import Names

pytestmark = pytest.mark.servers

ALARMED = [condition for condition in CONDITIONS.values() if condition.alarm]


def statuses(names: Names) -> dict[str, str]:
    return {resource["LogicalResourceId"]: resource["ResourceStatus"] for resource in stack_resources(names)}


def stack_resources(names: Names) -> list[Any]:
    return list(boto3.client("cloudformation").describe_stack_resources(StackName=names.stack)["StackResources"])


def alarms(names: Names) -> dict[str, Any]:
    paginator = boto3.client("cloudwatch").get_paginator("describe_alarms")
    pages = paginator.paginate(AlarmNamePrefix=f"crypto-lakehouse-{names.environment}-")
    return {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}


# ---- created resources


def test_every_resource_but_the_composite_alarm_is_created(deployed: deploy.Deployment, names: Names) -> None:
    assert deployed.changed
    status = statuses(names)
    assert set(status.values()) == {"CREATE_COMPLETE"}
    expected = {
        name
        for name, resource in parse(TEMPLATE.read_text())["Resources"].items()
        if not str(resource.get("Condition", "")).startswith("Has") or resource["Condition"] == "HasAlertEmail2"
    }
    assert set(status) == expected - {"UnhealthyAlarm"}


def test_the_bucket_is_encrypted_versioned_and_private(deployed: deploy.Deployment, names: Names) -> None:
    s3 = boto3.client("s3")
    assert s3.get_bucket_versioning(Bucket=names.bucket)["Status"] == "Enabled"
    rules = s3.get_bucket_encryption(Bucket=names.bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert set(s3.get_public_access_block(Bucket=names.bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    policy = json.loads(s3.get_bucket_policy(Bucket=names.bucket)["Policy"])
    denied = {statement["Sid"]: statement for statement in policy["Statement"]}
    assert set(denied) == {"DenyPlainHttp", "DenyOldTls", "DenyOverwritingLandedFiles"}
    assert denied["DenyPlainHttp"]["Resource"] == [f"arn:aws:s3:::{names.bucket}", f"arn:aws:s3:::{names.bucket}/*"]
    assert denied["DenyOverwritingLandedFiles"]["Resource"] == [
        f"arn:aws:s3:::{names.bucket}/crypto_data/*/*",
        f"arn:aws:s3:::{names.bucket}/dead_letter/*/*",
    ]


def test_the_tables_read_the_landed_files(deployed: deploy.Deployment, names: Names) -> None:
    tables = {
        table["Name"]: table for table in boto3.client("glue").get_tables(DatabaseName=names.database)["TableList"]
    }
    assert set(tables) == {"crypto_raw_data", "dead_letter_data", "test_history_data"}
    raw = tables["crypto_raw_data"]
    assert raw["StorageDescriptor"]["Location"] == f"s3://{names.bucket}/crypto_data/"
    assert raw["StorageDescriptor"]["SerdeInfo"]["Parameters"]["field.delim"] == "\x01"
    assert raw["Parameters"]["storage.location.template"] == f"s3://{names.bucket}/crypto_data/${{dt}}/"
    assert raw["Parameters"]["projection.dt.range"] == "2024/01/01,NOW+1DAY"


def test_the_workgroups_limit_scans_and_place_results(deployed: deploy.Deployment, names: Names) -> None:
    athena = boto3.client("athena")
    dbt, bi = (
        athena.get_work_group(WorkGroup=name)["WorkGroup"]["Configuration"]
        for name in (names.workgroup, f"{names.workgroup}-bi")
    )
    assert dbt["ResultConfiguration"]["OutputLocation"] == f"s3://{names.bucket}/query_results/"
    assert bi["ResultConfiguration"]["OutputLocation"] == f"s3://{names.bucket}/query_results/bi/"
    assert str(dbt["EnforceWorkGroupConfiguration"]).lower() == "false"
    assert str(bi["EnforceWorkGroupConfiguration"]).lower() == "true"
    assert int(dbt["BytesScannedCutoffPerQuery"]) == 10 * 2**30
    assert int(bi["BytesScannedCutoffPerQuery"]) == 2**30


def test_the_alarms_are_those_of_the_catalogue(deployed: deploy.Deployment, names: Names) -> None:
    by_name = alarms(names)
    assert set(by_name) == {alarm_name(condition, names.environment) for condition in ALARMED}
    for condition in ALARMED:
        alarm = by_name[alarm_name(condition, names.environment)]
        assert (alarm["MetricName"], alarm["Threshold"]) == (condition.metric, condition.threshold)
        assert alarm["TreatMissingData"] == condition.alarm_missing
        assert alarm["AlarmActions"] == [deployed.outputs["AlertTopicArn"]]
        assert condition.runbook in alarm["AlarmDescription"]


def test_alarms_watch_the_series_that_consumer_and_monitor_publish(deployed: deploy.Deployment, names: Names) -> None:
    client, now = boto3.client("cloudwatch"), datetime.now(UTC)
    window = Window(monotonic(), durations=Counter([0.2]), sizes=Counter([100.0]))
    landed: Any = metric_data(window, names.environment, now)
    client.put_metric_data(Namespace="CryptoLakehouse", MetricData=landed)
    data = [
        cloudwatch.Datum(metric.name, 1.0, layer)
        for metric in MONITOR_METRICS
        for layer in (LAYERS if "Layer" in metric.dimensions else (None,))
    ]
    cloudwatch.publish(client, "CryptoLakehouse", names.environment, data, now)
    pages = client.get_paginator("list_metrics").paginate(
        Namespace="CryptoLakehouse", Dimensions=[{"Name": "Environment", "Value": names.environment}]
    )
    published = {
        (metric["MetricName"], tuple(sorted((pair["Name"], pair["Value"]) for pair in metric["Dimensions"])))
        for page in pages
        for metric in page["Metrics"]
    }
    assert {name for name, _ in published} == set(METRICS)
    for alarm in alarms(names).values():
        assert alarm["Namespace"] == "CryptoLakehouse"
        dimensions = tuple(sorted((pair["Name"], pair["Value"]) for pair in alarm["Dimensions"]))
        assert (alarm["MetricName"], dimensions) in published


def test_an_alarm_sends_its_runbook_to_the_topic(deployed: deploy.Deployment, names: Names) -> None:
    sqs = boto3.client("sqs")
    queue = sqs.create_queue(QueueName=f"{names.stack}-mailbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    boto3.client("sns").subscribe(TopicArn=deployed.outputs["AlertTopicArn"], Protocol="sqs", Endpoint=arn)
    boto3.client("cloudwatch").set_alarm_state(
        AlarmName=alarm_name(CONDITIONS["kafka_lag"], names.environment), StateValue="ALARM", StateReason="a test"
    )
    message = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]
    notice = json.loads(json.loads(message["Body"])["Message"])
    assert notice["NewStateValue"] == "ALARM"
    assert "runbooks/kafka_lag.md" in notice["AlarmDescription"]


def test_the_mail_addresses_are_subscribed(deployed: deploy.Deployment) -> None:
    response = boto3.client("sns").list_subscriptions_by_topic(TopicArn=deployed.outputs["AlertTopicArn"])
    assert sorted((entry["Protocol"], entry["Endpoint"]) for entry in response["Subscriptions"]) == [
        ("email", "one@example.com"),
        ("email", "two@example.com"),
    ]


def test_the_dashboard_is_valid_and_complete(deployed: deploy.Deployment, names: Names) -> None:
    name = deployed.outputs["DashboardName"]
    body = json.loads(boto3.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])
    assert "${" not in json.dumps(body)
    assert names.environment in json.dumps(body)
    thresholds = [
        line["value"]
        for widget in body["widgets"]
        for line in widget["properties"].get("annotations", {}).get("horizontal", [])
    ]
    assert sorted(thresholds) == sorted(condition.threshold for condition in ALARMED)


def test_the_policies_name_this_bucket_only(deployed: deploy.Deployment, names: Names) -> None:
    iam = boto3.client("iam")
    for output in ("ConsumerPolicyArn", "AirflowPolicyArn", "BiReaderPolicyArn"):
        policy = deployed.outputs[output]
        version = iam.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=policy, VersionId=version)["PolicyVersion"]["Document"]
        resources = [
            arn
            for statement in document["Statement"]
            for arn in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
        ]
        buckets = {arn.split(":::")[1].split("/")[0] for arn in resources if ":s3:" in arn}
        assert buckets == {names.bucket}
        assert not [arn for arn in resources if "${" in arn]


def test_a_named_principal_gets_a_role(names: Names, settings: Settings) -> None:
    principal = "arn:aws:iam::000000000000:root"
    deployed = deploy.deploy({"ConsumerPrincipalArn": principal}, stack=names.stack, settings=settings)
    iam = boto3.client("iam")
    role = iam.get_role(RoleName=deployed.outputs["ConsumerRoleArn"].rsplit("/", 1)[1])["Role"]
    trust = role["AssumeRolePolicyDocument"]["Statement"][0]
    assert trust["Principal"] == {"AWS": principal}
    attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert [entry["PolicyArn"] for entry in attached] == [deployed.outputs["ConsumerPolicyArn"]]
    assert "AirflowRoleArn" not in deployed.outputs


def test_the_outputs_are_settings_for_this_stack(
    deployed: deploy.Deployment, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load()
    for name in ("S3_BUCKET", "WAREHOUSE_DATABASE", "WAREHOUSE_WORKGROUP", "MONITOR_ENVIRONMENT"):
        monkeypatch.delenv(name)
    for name, value in deployed.settings.items():
        monkeypatch.setenv(name, value)
    assert load() == before


# ---- updates


def test_a_second_deployment_changes_nothing(deployed: deploy.Deployment, names: Names, settings: Settings) -> None:
    events: list[deploy.StackEvent] = []
    again = deploy.deploy(stack=names.stack, settings=settings, progress=events.append)
    assert not again.changed
    assert events == []
    assert again.outputs == deployed.outputs
    assert again.settings == deployed.settings


def test_an_update_keeps_every_physical_resource(deployed: deploy.Deployment, names: Names, settings: Settings) -> None:
    name = alarm_name(CONDITIONS["kafka_lag"], names.environment)
    before = physical_ids(names)
    shown: list[deploy.Change] = []

    def confirm(changes: list[deploy.Change]) -> bool:
        shown.extend(changes)
        return True

    update = deploy.deploy({"KafkaLagThreshold": "5000"}, stack=names.stack, settings=settings, confirm=confirm)
    assert update.changed
    assert {change.resource for change in shown} == {"KafkaLagAlarm", "Dashboard", "UnhealthyAlarm"}
    assert alarms(names)[name]["Threshold"] == 5000
    assert physical_ids(names) == before


def physical_ids(names: Names) -> dict[str, str]:
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in stack_resources(names)}


def test_a_set_threshold_stays_and_another_follows_the_template(
    names: Names, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deploy.deploy({"KafkaLagThreshold": "5000"}, stack=names.stack, settings=settings)
    text = TEMPLATE.read_text()
    newer = tmp_path / "template.yaml"
    for parameter, default, new_default in (("KafkaLagThreshold", "1000", "700"), ("UploadErrorsThreshold", "5", "9")):
        before = f"  {parameter}:\n    Type: Number\n    Default: {default}\n"
        assert before in text
        text = text.replace(before, before.replace(default, new_default))
    newer.write_text(text)
    monkeypatch.setattr(deploy, "TEMPLATE", newer)
    assert deploy.deploy(stack=names.stack, settings=settings).changed
    by_name = alarms(names)
    assert by_name[alarm_name(CONDITIONS["kafka_lag"], names.environment)]["Threshold"] == 5000
    assert by_name[alarm_name(CONDITIONS["upload_errors"], names.environment)]["Threshold"] == 9


def test_a_refused_deployment_creates_nothing(names: Names, settings: Settings) -> None:
    with pytest.raises(deploy.DeployError, match="not confirmed"):
        deploy.deploy(stack=names.stack, settings=settings, confirm=lambda _changes: False)
    assert deploy.Deployer(names.stack, settings).describe() is None
    with pytest.raises(ClientError):
        boto3.client("s3").head_bucket(Bucket=names.bucket)


@pytest.mark.parametrize("prefix", ["crypto_data/dead/", "crypto_data/", "dead_letter"])
def test_a_prefix_that_the_programs_refuse_is_not_deployed(names: Names, settings: Settings, prefix: str) -> None:
    with pytest.raises((StackParameterError, ClientError), match=r"is inside S3_DATA_PREFIX|must end with"):
        deploy.deploy({"DeadLetterPrefix": prefix}, stack=names.stack, settings=settings)


def test_an_unknown_parameter_is_named(names: Names, settings: Settings) -> None:
    with pytest.raises(
        StackParameterError, match=r"no such parameter: KafkaThreshold; the template has .*KafkaLagThreshold"
    ):
        deploy.deploy({"KafkaThreshold": "1"}, stack=names.stack, settings=settings)


def test_too_many_addresses_are_refused(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_EMAILS", json.dumps([f"{name}@example.com" for name in "abcd"]))
    with pytest.raises(StackParameterError, match="ALERT_EMAILS has 4 addresses"):
        deploy.deploy(stack=names.stack, settings=load())


def test_a_failed_deployment_names_the_resource_and_can_be_repeated(names: Names, settings: Settings) -> None:
    athena = boto3.client("athena")
    athena.create_work_group(Name=names.workgroup)
    with pytest.raises(deploy.DeployError, match=r"ended in ROLLBACK_COMPLETE: Workgroup: "):
        deploy.deploy(stack=names.stack, settings=settings)
    with pytest.raises(ClientError):  # the bucket was empty, so the rollback deleted it
        boto3.client("s3").head_bucket(Bucket=names.bucket)
    with pytest.raises(deploy.DeployError, match=f"python -m include.aws destroy --stack {names.stack}"):
        deploy.deploy(stack=names.stack, settings=settings)
    athena.delete_work_group(WorkGroup=names.workgroup)
    assert deploy.destroy(stack=names.stack, settings=settings)
    assert deploy.deploy(stack=names.stack, settings=settings).changed


# ---- deletion


def test_destroy_keeps_the_data_and_a_new_stack_uses_it(
    deployed: deploy.Deployment, names: Names, settings: Settings
) -> None:
    s3, glue = boto3.client("s3"), boto3.client("glue")
    s3.put_object(Bucket=names.bucket, Key="crypto_data/2026/11/23/some.json", Body=b"[]")
    assert deploy.destroy(stack=names.stack, settings=settings)
    assert deploy.Deployer(names.stack, settings).describe() is None
    assert s3.get_object(Bucket=names.bucket, Key="crypto_data/2026/11/23/some.json")["Body"].read() == b"[]"
    assert "DenyPlainHttp" in s3.get_bucket_policy(Bucket=names.bucket)["Policy"]
    assert glue.get_database(Name=names.database)["Database"]["Name"] == names.database
    assert alarms(names) == {}

    again = deploy.deploy(stack=names.stack, settings=settings)
    assert again.settings == deployed.settings
    assert [note for note in again.notes if "bucket" in note] == [
        f"bucket {names.bucket} exists: this stack uses it and does not manage its configuration"
    ]
    assert "Bucket" not in statuses(names)
    assert not deploy.deploy(stack=names.stack, settings=settings).changed
    assert s3.get_object(Bucket=names.bucket, Key="crypto_data/2026/11/23/some.json")["Body"].read() == b"[]"
    assert {table["Name"] for table in glue.get_tables(DatabaseName=names.database)["TableList"]} > {"crypto_raw_data"}


def test_a_stack_moved_to_another_bucket_and_database_creates_them(
    deployed: deploy.Deployment, names: Names, settings: Settings
) -> None:
    """Before the move the stack uses the bucket and the database of a destroyed stack."""
    assert deploy.destroy(stack=names.stack, settings=settings)
    deploy.deploy(stack=names.stack, settings=settings)
    bucket, database = f"{names.bucket}-2", f"{names.database}_2"
    moved = deploy.deploy({"BucketName": bucket, "DatabaseName": database}, stack=names.stack, settings=settings)
    assert moved.changed
    boto3.client("s3").head_bucket(Bucket=bucket)
    assert boto3.client("glue").get_database(Name=database)["Database"]["Name"] == database
    boto3.client("s3").head_bucket(Bucket=names.bucket)


def test_a_bucket_in_another_region_is_refused(names: Names, settings: Settings) -> None:
    """boto3 would find the bucket in another region; the consumer and Athena would not."""
    other_region = boto3.client("s3", region_name="eu-west-3")
    other_region.create_bucket(Bucket=names.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    with pytest.raises(deploy.DeployError, match="is in eu-west-3, this deployment is for us-east-1"):
        deploy.deploy(stack=names.stack, settings=settings)
    with pytest.raises(deploy.DeployError, match="is in eu-west-3"):
        deploy.destroy(stack=names.stack, settings=settings, delete_data_of=names.bucket)


def test_an_existing_bucket_is_used_and_its_weaknesses_are_named(names: Names, settings: Settings) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=names.bucket)
    notes = "\n".join(deploy.deploy(stack=names.stack, settings=settings).notes)
    assert "keeps no old versions" in notes
    assert "refuses plain HTTP" in notes
    assert "refuses to overwrite what is landed under crypto_data/" in notes
    assert "BucketPolicy" not in statuses(names)
    assert s3.get_bucket_versioning(Bucket=names.bucket).get("Status") is None


def test_data_is_deleted_only_when_the_bucket_is_named(
    deployed: deploy.Deployment, names: Names, settings: Settings
) -> None:
    s3, glue = boto3.client("s3"), boto3.client("glue")
    for body in (b"first version", b"second version"):
        s3.put_object(Bucket=names.bucket, Key="state/layers/gold.json", Body=body)
    s3.delete_object(Bucket=names.bucket, Key="state/layers/gold.json")
    glue.create_database(DatabaseInput={"Name": f"{names.database}_gold"})
    others = {f"{names.database}x", f"{names.database}_prod", f"{names.database}_prod_gold"}
    for other in others:
        glue.create_database(DatabaseInput={"Name": other})
    with pytest.raises(deploy.DeployError, match="nothing was deleted"):
        deploy.destroy(stack=names.stack, settings=settings, delete_data_of="another-bucket")
    assert set(statuses(names).values()) == {"CREATE_COMPLETE"}

    events: list[deploy.StackEvent] = []
    assert deploy.destroy(stack=names.stack, settings=settings, delete_data_of=names.bucket, progress=events.append)
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket=names.bucket)
    remaining = {database["Name"] for database in glue.get_databases()["DatabaseList"]}
    assert not {names.database, f"{names.database}_gold"} & remaining
    assert others <= remaining  # they belong to another environment
    # A second time there is nothing to do.
    assert not deploy.destroy(stack=names.stack, settings=settings, delete_data_of=names.bucket)
    assert any("3 versions" in event.reason for event in events)


def test_destroy_without_a_stack_does_nothing(names: Names, settings: Settings) -> None:
    assert not deploy.destroy(stack=names.stack, settings=settings)
