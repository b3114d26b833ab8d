"""Refuses AWS calls that the template's policies do not allow, as AWS would. The emulator allows every call.

`install()` wraps every call of boto3 and obstore in this process. The calling module says which program makes the
call; the call says which IAM action and S3 object it needs. The wrapper raises `RefusedByPolicy` when no statement of
that program's policy allows it. Calls of the tests themselves pass. Names that a deployment chooses (bucket, database,
topic) match anything, and prefixes are the template's defaults. Conditions of a statement are ignored.

The guard also sees calls that a library makes on its own, for example Airflow's hooks.
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
    "AirflowPolicy": re.compile(
        rf"{_HERE}/(include/(audit|monitoring|on_airflow|state|transform)|dags|plugins)/|/dbt/adapters/athena/"
    ),
    "ConsumerPolicy": re.compile(rf"{_HERE}/include/(ingest|landing)/"),
}
"""Policy -> modules of the program that has it. The first policy with a frame on the stack counts: the replay of dead
letters is code of the ingest side, but it is Airflow's call when a DAG runs it."""

UNGUARDED = re.compile(rf"{_HERE}/(tests|include/(local|aws))/")
"""Modules with clients of their own. They include a test that passes its own client to a function of the project."""

ALLOWED_TO_ALL = {"sts:GetCallerIdentity"}
"""IAM allows this to every caller."""

seen: dict[str, set[str]] = {policy: set() for policy in CALLERS}
"""Actions that each program has used in this process."""


class RefusedByPolicy(AssertionError):  # noqa: N818 - IAM's answer, not an error of the program
    """AWS would have answered AccessDenied."""


@cache
def statements(policy: str) -> list[tuple[set[str], list[str]]]:
    """(actions, resource patterns) of each statement; "*" where the resource is not an S3 address."""
    template = parse(TEMPLATE.read_text())
    fixed = {
        name: str(parameter["Default"]) for name, parameter in template["Parameters"].items() if name.endswith("Prefix")
    }

    def pattern(resource: Any) -> str:
        if not isinstance(resource, dict) or ":s3:::" not in str(resource.get("Fn::Sub", "")):
            return "*"
        text = str(resource["Fn::Sub"]).split(":s3:::")[1]
        return re.sub(r"\$\{([^}]+)\}", lambda name: fixed.get(name[1], "*"), text)

    def listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    document = template["Resources"][policy]["Properties"]["PolicyDocument"]
    return [
        (set(listed(statement["Action"])), [pattern(resource) for resource in listed(statement["Resource"])])
        for statement in document["Statement"]
    ]


def allowed(policy: str, action: str, resource: str) -> bool:
    """Whether a statement of the policy allows the action on `BUCKET/key`, `BUCKET` or, outside S3, "*"."""
    return any(
        action in actions and any(fnmatch.fnmatchcase(resource, pattern) for pattern in patterns)
        for actions, patterns in statements(policy)
    )


def caller() -> str | None:
    """The policy that applies to the running call; None when a test makes it."""
    frame: FrameType | None = sys._getframe(2)
    policies: set[str] = set()
    while frame is not None:
        path = frame.f_code.co_filename
        if not policies and UNGUARDED.search(path) and not path.endswith("policy_guard.py"):
            return None
        policies |= {policy for policy, modules in CALLERS.items() if modules.search(path)}
        frame = frame.f_back
    return next((policy for policy in CALLERS if policy in policies), None)


def judge(policy: str, action: str, resource: str) -> None:
    """Record the call.

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
    keys = [entry["Key"] for entry in parameters.get("Delete", {}).get("Objects", [])] or [parameters.get("Key")]
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
            key = arguments[0] if arguments and not name.startswith("list") else None
            for action in OBSTORE[name]:
                judge(policy, action, bucket if key is None else f"{bucket}/{key}")
        return original(store, *arguments, **options)

    return call


@cache
def install() -> None:
    """Guard this process. Further calls do nothing."""
    client: Any = botocore.client.BaseClient
    client._make_api_call = _guarded_client(client._make_api_call)
    for name in OBSTORE:
        if hasattr(obstore, name):
            setattr(obstore, name, _guarded_function(name, getattr(obstore, name)))
