"""Deploy the template, and delete the stack without its data.

    python -m include.aws deploy      shows the changes, asks, then reports each resource
    python -m include.aws destroy     deletes all but the bucket, its policy and the Glue database

The function `deploy(progress=print)` does not ask and returns the outputs.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.exceptions import ClientError

from include.aws.document import TEMPLATE, compact
from include.aws.parameters import Declared, as_settings, from_settings, is_emulator, parameter_values
from include.catalogue import LAYERS
from include.settings import Settings, load

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

DEFAULT_STACK = "crypto-lakehouse"
SCHEMAS = (*LAYERS, "monitoring", "reference", "test_failures")
"""dbt makes a database for each of these suffixes of its name (`+schema` in dbt_project.yml; a test compares)."""
MAX_TEMPLATE_BYTES = 51_200
"""CloudFormation's limit for a template in the request. A longer template would need a bucket first."""

_TIMEOUT_SECONDS = 1800.0
_REPLACEMENT: dict[str, Literal["no", "perhaps", "yes"]] = {"True": "yes", "Conditional": "perhaps"}
_NOT_CREATED = frozenset({"REVIEW_IN_PROGRESS"})


class DeployError(RuntimeError):
    """The deployment cannot continue; the text names the resource, the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a change set: the planned change of one resource."""

    action: str
    resource: str
    kind: str
    replacement: Literal["no", "perhaps", "yes"]

    def __str__(self) -> str:
        note = {"no": "", "perhaps": "  (may be replaced)", "yes": "  (REPLACED)"}[self.replacement]
        return f"{self.action:8} {self.resource:28} {self.kind}{note}"


@dataclass(frozen=True, slots=True)
class StackEvent:
    """One event of one resource."""

    resource: str
    kind: str
    status: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.status:22} {self.resource:28} {self.kind}" + (f"  {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Deployment:
    """Result of a deployment.

    `outputs` are the stack's outputs by name. `settings` are the environment variables that the programs need to use
    this stack. `notes` are remarks for the caller.
    """

    stack: str
    changed: bool
    outputs: dict[str, str]
    settings: dict[str, str]
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Confirm = Callable[[list[Change]], bool]
Progress = Callable[[StackEvent], None]


def _agree(_changes: list[Change]) -> bool:
    return True


def _silent(_event: StackEvent) -> None:
    return None


class Deployer:
    """The AWS calls about one stack."""

    def __init__(self, stack: str, settings: Settings) -> None:
        self.stack = stack
        self.settings = settings
        self.emulated = is_emulator(settings.aws.endpoint_url)
        self._session = boto3.Session(region_name=settings.aws.default_region)
        self._poll_seconds = 0.1 if self.emulated else 2.0
        self._cloudformation: CloudFormationClient = self._session.client(
            "cloudformation", endpoint_url=settings.aws.endpoint_url
        )

    def describe(self) -> dict[str, Any] | None:
        """The stack as CloudFormation has it, or None when it does not exist."""
        try:
            stacks = self._cloudformation.describe_stacks(StackName=self.stack)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError" and "does not exist" in str(error):
                return None
            raise
        return dict(stacks[0])

    def deploy(self, given: Mapping[str, str], confirm: Confirm, progress: Progress) -> Deployment:
        """See `deploy`."""
        stack = self._deployable()
        new = stack is None
        template = compact(TEMPLATE.read_text())
        if len(template.encode()) > MAX_TEMPLATE_BYTES:
            raise DeployError(f"{TEMPLATE.name} is larger than CloudFormation's limit of {MAX_TEMPLATE_BYTES} bytes")
        existing, notes = self._existing_storage(stack, given)
        values = parameter_values(
            self._declared(TemplateBody=template),
            given=given,
            computed=from_settings(self.settings) | existing | {"Emulated": str(self.emulated).lower()},
            deployed=_deployed_parameters(stack),
            deployed_defaults={}
            if new
            else {parameter.name: parameter.default for parameter in self._declared(StackName=self.stack)},
        )
        change_set = self._make_change_set(template, values, new)
        if change_set is None:
            return self._deployment(changed=False, changes=[], notes=notes)
        changes = [_change(entry) for entry in change_set["Changes"]]
        if not confirm(changes):
            self._abandon(change_set["ChangeSetId"], new)
            raise DeployError(f"not confirmed: stack {self.stack} is unchanged")
        last = self._last_event()
        self._cloudformation.execute_change_set(ChangeSetName=change_set["ChangeSetId"], StackName=self.stack)
        self._follow(last, progress, wanted={"CREATE_COMPLETE", "UPDATE_COMPLETE"})
        return self._deployment(changed=True, changes=changes, notes=notes)

    def destroy(self, progress: Progress) -> bool:
        """See `destroy`."""
        stack = self.describe()
        if stack is None:
            return False
        name = stack["StackId"]  # CloudFormation finds a deleted stack only by its id
        last = self._last_event()
        self._cloudformation.delete_stack(StackName=name)
        self._follow(last, progress, wanted={"DELETE_COMPLETE"}, stack=name)
        return True

    def data_places(self) -> tuple[str, str]:
        """Bucket and database of the stack, or of the settings when the stack is gone."""
        values = _deployed_parameters(self.describe())
        return (
            values.get("BucketName", self.settings.storage.bucket),
            values.get("DatabaseName", self.settings.warehouse.database),
        )

    def has_bucket(self, name: str) -> bool:
        """Whether this bucket exists.

        Raises:
            DeployError: the bucket is in another region, or belongs to another account.
        """
        s3 = self._session.client("s3", endpoint_url=self.settings.aws.endpoint_url)
        try:
            region = s3.head_bucket(Bucket=name).get("BucketRegion", s3.meta.region_name)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 404:
                return False
            if status == 403:
                raise DeployError(
                    f"bucket {name} belongs to another AWS account, or you may not see it: bucket names are unique "
                    "in the world, so choose another with S3_BUCKET"
                ) from error
            raise
        if region != s3.meta.region_name:  # boto3 would go to that region; the consumer and Athena would not
            raise DeployError(
                f"bucket {name} is in {region}, this deployment is for {s3.meta.region_name}: "
                "choose another with S3_BUCKET, or set AWS_DEFAULT_REGION"
            )
        return True

    def delete_data(self, bucket: str, progress: Progress) -> int:
        """Delete a bucket with every version of every object in it; returns the number of versions."""
        s3 = self._session.client("s3", endpoint_url=self.settings.aws.endpoint_url)
        deleted = 0
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            versions: list[Any] = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
            if not versions:
                continue
            response = s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
            if errors := response.get("Errors"):
                first = errors[0]
                raise DeployError(f"s3://{bucket}/{first.get('Key')} was not deleted: {first.get('Message')}")
            deleted += len(versions)
        s3.delete_bucket(Bucket=bucket)
        progress(StackEvent("Bucket", "AWS::S3::Bucket", "DELETE_COMPLETE", f"{bucket}, {deleted} versions of objects"))
        return deleted

    def delete_databases(self, database: str, progress: Progress) -> None:
        """Delete the Glue database and dbt's databases beside it, but not another environment's NAME_prod."""
        glue = self._session.client("glue", endpoint_url=self.settings.aws.endpoint_url)
        databases = {database, *(f"{database}_{schema}" for schema in SCHEMAS)}
        for page in glue.get_paginator("get_databases").paginate():
            for name in [entry["Name"] for entry in page["DatabaseList"] if entry["Name"] in databases]:
                glue.delete_database(Name=name)
                progress(StackEvent("Database", "AWS::Glue::Database", "DELETE_COMPLETE", name))

    # ---- parts of the public methods

    def _deployable(self) -> dict[str, Any] | None:
        """The stack if it can be updated, None if it must be created.

        Raises:
            DeployError: in its state the stack can be neither updated nor created.
        """
        stack = self.describe()
        if stack is None or stack["StackStatus"] in _NOT_CREATED:
            return None
        status = stack["StackStatus"]
        if status.endswith("_IN_PROGRESS"):
            raise DeployError(f"stack {self.stack} is in {status}: wait until this has ended, then deploy again")
        if status == "UPDATE_ROLLBACK_FAILED":
            raise DeployError(
                f"stack {self.stack} is in {status}: repair what its last event names, then "
                f"aws cloudformation continue-update-rollback --stack-name {self.stack}, then deploy again"
            )
        if status in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}:
            raise DeployError(
                f"stack {self.stack} is in {status} and cannot be updated: "
                f"python -m include.aws destroy --stack {self.stack} (keeps the data), then deploy again"
            )
        return stack

    def _declared(self, **source: str) -> list[Declared]:
        summary = self._cloudformation.get_template_summary(**source)  # type: ignore[arg-type]
        return [
            Declared(parameter["ParameterKey"], parameter.get("DefaultValue")) for parameter in summary["Parameters"]
        ]

    def _existing_storage(
        self, stack: dict[str, Any] | None, given: Mapping[str, str]
    ) -> tuple[dict[str, str], list[str]]:
        """CreateBucket and CreateDatabase: false for a bucket or database that exists outside this stack.

        `destroy` keeps both, so a new stack may find the data of an earlier stack.
        """
        names = from_settings(self.settings) | dict(given)
        deployed = _deployed_parameters(stack)
        flags: dict[str, str] = {}
        notes: list[str] = []
        for flag, parameter, look_for in (
            ("CreateBucket", "BucketName", self._look_for_bucket),
            ("CreateDatabase", "DatabaseName", self._look_for_database),
        ):
            if flag in deployed and deployed.get(parameter) == names[parameter]:
                flags[flag] = deployed[flag]
            else:  # the stack is new, or gets another bucket or database
                exists, remarks = look_for(names)
                flags[flag] = str(not exists).lower()
                notes += remarks
        return flags, notes

    def _look_for_bucket(self, names: Mapping[str, str]) -> tuple[bool, list[str]]:
        bucket = names["BucketName"]
        if not self.has_bucket(bucket):
            return False, []
        note = f"bucket {bucket} exists: this stack uses it and does not manage its configuration"
        return True, [note, *self._weaknesses(bucket, names["DataPrefix"])]

    def _look_for_database(self, names: Mapping[str, str]) -> tuple[bool, list[str]]:
        database = names["DatabaseName"]
        if not self._has_database(database):
            return False, []
        return True, [f"Glue database {database} exists: it is used as it is"]

    def _weaknesses(self, bucket: str, data_prefix: str) -> list[str]:
        """Protections of the template's bucket that a bucket made elsewhere lacks."""
        s3 = self._session.client("s3", endpoint_url=self.settings.aws.endpoint_url)
        notes = []
        if s3.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
            notes.append(f"bucket {bucket} keeps no old versions: switch versioning on")
        try:
            blocked = set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchPublicAccessBlockConfiguration":
                raise
            blocked = {False}
        if blocked != {True}:
            notes.append(f"bucket {bucket} does not block all public access: block it")
        try:
            policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
                raise
            policy = ""
        if "aws:SecureTransport" not in policy:
            notes.append(f"bucket {bucket} has no policy that refuses plain HTTP: see BucketPolicy in {TEMPLATE.name}")
        if "s3:if-none-match" not in policy or f"{bucket}/{data_prefix}" not in policy:
            notes.append(
                f"bucket {bucket} has no policy that refuses to overwrite what is landed under {data_prefix}: "
                f"see BucketPolicy in {TEMPLATE.name}"
            )
        return notes

    def _has_database(self, name: str) -> bool:
        glue = self._session.client("glue", endpoint_url=self.settings.aws.endpoint_url)
        try:
            glue.get_database(Name=name)
        except glue.exceptions.EntityNotFoundException:
            return False
        return True

    def _make_change_set(self, template: str, values: Mapping[str, str], new: bool) -> dict[str, Any] | None:
        """A change set that can be executed, or None when nothing would change."""
        created = self._cloudformation.create_change_set(
            StackName=self.stack,
            ChangeSetName=f"deploy-{uuid.uuid4().hex[:12]}",
            ChangeSetType="CREATE" if new else "UPDATE",
            TemplateBody=template,
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while True:
            change_set = self._change_set(created["Id"])
            if change_set["Status"] == "CREATE_COMPLETE":
                return change_set
            if change_set["Status"] == "FAILED":
                reason = change_set.get("StatusReason", "")
                self._abandon(created["Id"], new)
                if "didn't contain changes" in reason or "No updates are to be performed" in reason:
                    return None
                raise DeployError(f"CloudFormation refused the change set for {self.stack}: {reason}")
            if time.monotonic() > deadline:
                raise DeployError(
                    f"the change set for {self.stack} is still in {change_set['Status']}: try again later"
                )
            time.sleep(self._poll_seconds)

    def _change_set(self, change_set: str) -> dict[str, Any]:
        """The change set with the changes of all its pages."""
        page = self._cloudformation.describe_change_set(ChangeSetName=change_set, StackName=self.stack)
        changes = list(page.get("Changes", []))
        while token := page.get("NextToken"):
            page = self._cloudformation.describe_change_set(
                ChangeSetName=change_set, StackName=self.stack, NextToken=token
            )
            changes += page.get("Changes", [])
        return dict(page) | {"Changes": changes}

    def _abandon(self, change_set: str, new: bool) -> None:
        """Delete the change set, and the empty stack that a change set for a new stack creates."""
        self._cloudformation.delete_change_set(ChangeSetName=change_set, StackName=self.stack)
        if new:
            self._cloudformation.delete_stack(StackName=self.stack)

    def _events_since(self, last: str | None, stack: str) -> list[dict[str, Any]]:
        """Events after the event id `last` (None: all), oldest first.

        CloudFormation lists the newest first, so the history of an old stack is not read.
        """
        events: list[dict[str, Any]] = []
        for page in self._cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack):
            for event in page["StackEvents"]:
                if event["EventId"] == last:
                    return events[::-1]
                events.append(dict(event))
        return events[::-1]

    def _last_event(self) -> str | None:
        events = self._cloudformation.describe_stack_events(StackName=self.stack)["StackEvents"]
        return events[0]["EventId"] if events else None

    def _follow(self, last: str | None, progress: Progress, wanted: set[str], stack: str | None = None) -> None:
        """Report each event until the stack is in a final state.

        Raises:
            DeployError: the final state is not a wanted state; the text names the first resource that failed.
        """
        name = stack or self.stack
        first_failure: StackEvent | None = None
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while True:
            status = self._cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
            for entry in self._events_since(last, name):
                last = entry["EventId"]
                event = _event(entry)
                progress(event)
                if first_failure is None and event.status.endswith("_FAILED"):
                    first_failure = event
            if status in wanted:
                return
            if not status.endswith("_IN_PROGRESS"):
                cause = f"{first_failure.resource}: {first_failure.reason}" if first_failure else "see its events"
                raise DeployError(f"stack {self.stack} ended in {status}: {cause}")
            if time.monotonic() > deadline:
                raise DeployError(f"stack {self.stack} is still in {status} after {_TIMEOUT_SECONDS / 60:.0f} minutes")
            time.sleep(self._poll_seconds)

    def _deployment(self, *, changed: bool, changes: list[Change], notes: list[str]) -> Deployment:
        stack = self.describe()
        if stack is None:
            raise DeployError(f"stack {self.stack} is gone: somebody deleted it meanwhile")
        outputs = {
            output["OutputKey"]: (output["OutputValue"], output.get("Description", ""))
            for output in stack.get("Outputs", [])
        }
        return Deployment(
            stack=self.stack,
            changed=changed,
            outputs={name: value for name, (value, _) in outputs.items()},
            settings=as_settings(outputs),
            changes=changes,
            notes=notes,
        )


def _deployed_parameters(stack: dict[str, Any] | None) -> dict[str, str]:
    return {entry["ParameterKey"]: entry["ParameterValue"] for entry in (stack or {}).get("Parameters", [])}


def _change(entry: Mapping[str, Any]) -> Change:
    change = entry["ResourceChange"]
    return Change(
        action=change["Action"],
        resource=change["LogicalResourceId"],
        kind=change["ResourceType"],
        replacement=_REPLACEMENT.get(change.get("Replacement", "False"), "no"),
    )


def _event(entry: Mapping[str, Any]) -> StackEvent:
    return StackEvent(
        resource=entry["LogicalResourceId"],
        kind=entry["ResourceType"],
        status=entry["ResourceStatus"],
        reason=entry.get("ResourceStatusReason", ""),
    )


def deploy(
    parameters: Mapping[str, str] | None = None,
    *,
    stack: str = DEFAULT_STACK,
    settings: Settings | None = None,
    confirm: Confirm = _agree,
    progress: Progress = _silent,
) -> Deployment:
    """Create the stack or update it. If nothing differs, nothing is changed.

    Args:
        parameters: template parameters by name; they have priority over the settings.
        stack: name of the CloudFormation stack.
        settings: default: from the environment. AWS_ENDPOINT_URL on loopback means the emulator.
        confirm: gets the changes and returns whether to continue; default: yes.
        progress: gets each event of each resource.

    Raises:
        DeployError: the caller did not confirm, CloudFormation refused, or a resource failed (then it rolls back).
        StackParameterError: a parameter is unknown or unusable.
    """
    return Deployer(stack, settings or load()).deploy(parameters or {}, confirm, progress)


def destroy(
    *,
    stack: str = DEFAULT_STACK,
    settings: Settings | None = None,
    delete_data_of: str | None = None,
    progress: Progress = _silent,
) -> bool:
    """Delete the stack. Bucket, bucket policy and Glue database stay unless the bucket is named.

    Args:
        stack: name of the CloudFormation stack.
        settings: default: from the environment.
        delete_data_of: the bucket's name: also deletes the bucket with its content, and the Glue databases. This
            cannot be undone.
        progress: gets each event of each resource.

    Returns:
        Whether the stack existed.

    Raises:
        DeployError: `delete_data_of` is not the stack's bucket, or a resource could not be deleted.
    """
    deployer = Deployer(stack, settings or load())
    bucket, database = deployer.data_places()
    if delete_data_of is not None and delete_data_of != bucket:
        raise DeployError(f"the bucket of stack {stack} is {bucket}, not {delete_data_of}: nothing was deleted")
    # This check comes before anything is deleted: in another region only the bucket would be found, not the stack.
    holds_data = delete_data_of is not None and deployer.has_bucket(bucket)
    existed = deployer.destroy(progress)
    if holds_data:  # otherwise an earlier attempt has deleted the bucket
        deployer.delete_data(bucket, progress)
    if delete_data_of is not None:
        deployer.delete_databases(database, progress)
    return existed
