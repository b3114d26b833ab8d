"""What an emulator does not do: refuse AWS calls that the template's policies do not allow.

`install()` looks at every call of boto3 and obstore that this process makes, finds out which program makes it (by
the calling module) and which IAM action and S3 object it needs, and raises `RefusedByPolicy` when that program's
policy in the template has no statement for it. Calls of the tests themselves pass. Names that a deployment chooses
(bucket, database, topic) match anything; prefixes are the template's defaults. Conditions are not looked at.

Hidden calls are seen as well, such as those which Airflow's hooks make by themselves.
"""

from __future__ import annotations

import fnmatch
import functools
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from types import FrameType
from typing import Any

import botocore.client
import obstore

from include.aws.document import TEMPLATE, parse
from include.settings import PROJECT_ROOT
from tests.aws.api_calls import IAM_NAMES, OBSTORE

_HERE = re.escape(str(PROJECT_ROOT))
CALLERS = {
    "AirflowPolicy": re.compile(rf"{_HERE}/(include/(watch|transform)|dags|plugins)/|/dbt/adapters/athena/"),
    "ConsumerPolicy": re.compile(rf"{_HERE}/include/(ingest|landing)/"),
}
"""Policy -> modules of the program that has it. The first that matches a frame of the stack: the replay of dead
letters is the ingest side's code, and Airflow's when a DAG calls it."""

NOT_OURS = re.compile(rf"{_HERE}/(tests|include/(local|aws))/")
"""Who makes clients for itself: a test that calls a function of ours with its own client is such a caller too."""

ALLOWED_TO_ALL = {"sts:GetCallerIdentity"}
"""IAM refuses this to nobody."""

seen: dict[str, set[str]] = {policy: set() for policy in CALLERS}
"""Actions that each program has used in this process."""


class RefusedByPolicy(AssertionError):  # noqa: N818 - what IAM says is not an error of the program's
    """AWS would have answered AccessDenied."""


@cache
def statements(policy: str) -> list[tuple[set[str], list[str]]]:
    """(actions, resource patterns) of each statement; "*" where the resource is no S3 address."""
    template = parse(TEMPLATE.read_text())
    fixed = {name: str(one["Default"]) for name, one in template["Parameters"].items() if name.endswith("Prefix")}

    def pattern(resource: Any) -> str:
        if not isinstance(resource, dict) or ":s3:::" not in str(resource.get("Fn::Sub", "")):
            return "*"
        text = str(resource["Fn::Sub"]).split(":s3:::")[1]
        return re.sub(r"\$\{([^}]+)\}", lambda name: fixed.get(name[1], "*"), text)

    def listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    document = template["Resources"][policy]["Properties"]["PolicyDocument"]
    return [
        (set(listed(one["Action"])), [pattern(resource) for resource in listed(one["Resource"])])
        for one in document["Statement"]
    ]


def allowed(policy: str, action: str, resource: str) -> bool:
    """Whether a statement of the policy allows the action on `BUCKET/key`, `BUCKET` or, outside S3, "*"."""
    return any(
        action in actions and any(fnmatch.fnmatchcase(resource, pattern) for pattern in patterns)
        for actions, patterns in statements(policy)
    )


def caller() -> str | None:
    """The policy under which the running call is made, None when it is a test's own."""
    frame: FrameType | None = sys._getframe(2)
    found: set[str] = set()
    while frame is not None:
        path = frame.f_code.co_filename
        if not found and NOT_OURS.search(path) and not path.endswith("policy_guard.py"):
            return None
        found |= {policy for policy, modules in CALLERS.items() if modules.search(path)}
        frame = frame.f_back
    return next((policy for policy in CALLERS if policy in found), None)


def judge(policy: str, action: str, resource: str) -> None:
    """Note the call.

    Raises:
        RefusedByPolicy: the policy does not allow it.
    """
    if action in ALLOWED_TO_ALL:
        return
    if not allowed(policy, action, resource):
        raise RefusedByPolicy(f"{policy} does not allow {action} on {resource}")
    seen[policy].add(action)


def needed(service: str, operation: str, parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(IAM action, resource) that a call of boto3 needs."""
    action = IAM_NAMES.get(f"{service}:{operation}", f"{service}:{operation}")
    if service != "s3":
        yield action, "*"
        return
    bucket = parameters.get("Bucket", "")
    keys = [one["Key"] for one in parameters.get("Delete", {}).get("Objects", [])] or [parameters.get("Key")]
    for key in keys:
        yield action, bucket if key is None else f"{bucket}/{key}"
    if "CopySource" in parameters:
        source = parameters["CopySource"]
        yield "s3:GetObject", source if isinstance(source, str) else f"{source['Bucket']}/{source['Key']}"


def _guarded_client(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if policy := caller():
            for action, resource in needed(self.meta.service_model.service_name, operation, parameters):
                judge(policy, action, resource)
        return original(self, operation, parameters)

    return call


def _guarded_function(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(store: Any, *arguments: Any, **options: Any) -> Any:
        if policy := caller():
            bucket = store.config["bucket"]
            key = arguments[0] if arguments and name != "list" else None
            for action in OBSTORE[name]:
                judge(policy, action, bucket if key is None else f"{bucket}/{key}")
        return original(store, *arguments, **options)

    return call


@cache
def install() -> None:
    """Guard this process, once."""
    client: Any = botocore.client.BaseClient
    client._make_api_call = _guarded_client(client._make_api_call)
    for name in OBSTORE:
        if hasattr(obstore, name):
            setattr(obstore, name, _guarded_function(name, getattr(obstore, name)))
