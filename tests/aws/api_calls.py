"""Finds the AWS actions that source code calls, by its syntax tree.

The source also shows the calls that no test reaches; a recorded run would not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import botocore.session
from botocore import xform_name

SERVICES = ("s3", "cloudwatch", "glue", "athena", "sts", "lakeformation")
"""SNS is missing here: its calls are found by their keyword, because Kafka clients have methods of the same names."""

IAM_NAMES = {
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
}
"""API operations whose IAM action has another name."""

AIRFLOW_METHODS = {"get_connection", "get_session"}
"""Methods that Airflow's hooks have too. They are calls of AWS only where the receiver names the service."""

TRANSFERS = {
    "upload_file": "s3:PutObject",
    "upload_fileobj": "s3:PutObject",
    "download_file": "s3:GetObject",
    "download_fileobj": "s3:GetObject",
}
OBSTORE = {
    "put": ("s3:PutObject",),
    "get": ("s3:GetObject",),
    "get_range": ("s3:GetObject",),
    "head": ("s3:GetObject",),
    "list": ("s3:ListBucket",),
    "list_with_delimiter": ("s3:ListBucket",),
    "delete": ("s3:DeleteObject",),
    "copy": ("s3:GetObject", "s3:PutObject"),
    "rename": ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
}


@cache
def operations() -> dict[str, list[str]]:
    """Method name -> actions that it may mean, for example put_object -> [s3:PutObject]."""
    actions = {method: [action] for method, action in TRANSFERS.items()}
    session = botocore.session.get_session()
    for service in SERVICES:
        for operation in session.get_service_model(service).operation_names:
            action = f"{service}:{operation}"
            actions.setdefault(xform_name(operation), []).append(IAM_NAMES.get(action, action))
    return actions


def _receiver(node: ast.expr) -> str:
    return ast.unparse(node).lower()


def _actions(call: ast.Call) -> Iterator[str]:
    function = call.func
    if not isinstance(function, ast.Attribute):
        return
    receiver = _receiver(function.value)
    if receiver == "obstore":
        yield from OBSTORE.get(function.attr.removesuffix("_async"), ())
        return
    method = function.attr
    if method == "get_paginator" and call.args and isinstance(call.args[0], ast.Constant):
        method = str(call.args[0].value)
    if method == "publish" and any(keyword.arg in {"TopicArn", "TargetArn"} for keyword in call.keywords):
        yield "sns:Publish"
    meanings = operations().get(method, [])
    named = [action for action in meanings if action.split(":")[0] in receiver]
    if named or method not in AIRFLOW_METHODS:
        yield from (named or meanings)[:1]


def actions_in(source: str) -> set[str]:
    """Actions of one module."""
    return {action for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) for action in _actions(node)}


def actions_under(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """Action -> the modules that call it."""
    modules: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            for action in actions_in(path.read_text()):
                modules.setdefault(action, []).append(path)
    return modules
