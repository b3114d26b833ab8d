"""Small JSON objects in S3 that carry state from one run to the next.

Works with any boto3 S3 client: from the amazon provider's hook inside Airflow, from
`boto3.client("s3")` in the demo's status screen.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

State = TypeVar("State")

_ABSENT = {"NoSuchKey", "404", "NotFound"}
_CONFLICT = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


class StateChangedError(RuntimeError):
    """Somebody else wrote the object since it was read: read again and repeat."""


class StateUnreadableError(RuntimeError):
    """The object is there but is not what was written; the text names key and fault."""


def read(s3: S3Client, bucket: str, key: str) -> tuple[dict[str, Any], str] | None:
    """The object's content and ETag, or None when there is no such object.

    Raises:
        StateUnreadableError: it is not a JSON object.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in _ABSENT:
            return None
        raise
    body = answer["Body"].read()
    try:
        content = json.loads(body)
    except ValueError as error:
        raise StateUnreadableError(f"s3://{bucket}/{key} is not JSON ({error}): delete it to start afresh") from error
    if not isinstance(content, dict):
        raise StateUnreadableError(f"s3://{bucket}/{key} holds no JSON object: delete it to start afresh")
    return content, answer["ETag"]


def read_as(s3: S3Client, bucket: str, key: str, parse: Callable[[dict[str, Any]], State]) -> State | None:
    """The object's content as `parse` makes it, or None when there is no such object.

    Raises:
        StateUnreadableError: it is not what was written; the text names the object.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    found = read(s3, bucket, key)
    try:
        return None if found is None else parse(found[0])
    except StateUnreadableError as error:
        raise StateUnreadableError(f"s3://{bucket}/{key}: {error}") from error


def write(s3: S3Client, bucket: str, key: str, content: dict[str, Any]) -> None:
    """Write the object, whatever is there."""
    s3.put_object(Bucket=bucket, Key=key, Body=_encode(content), ContentType="application/json")


def replace(s3: S3Client, bucket: str, key: str, content: dict[str, Any], etag: str | None) -> None:
    """Write the object only if it is still the one that was read (`etag`), or still absent (None).

    Raises:
        StateChangedError: it is not.
    """
    try:
        if etag is None:
            s3.put_object(
                Bucket=bucket, Key=key, Body=_encode(content), ContentType="application/json", IfNoneMatch="*"
            )
        else:
            s3.put_object(Bucket=bucket, Key=key, Body=_encode(content), ContentType="application/json", IfMatch=etag)
    except ClientError as error:
        # An object deleted since it was read answers 404 to If-Match.
        if error.response["Error"]["Code"] in _CONFLICT | _ABSENT:
            raise StateChangedError(f"s3://{bucket}/{key} was changed by another writer") from error
        raise


def _encode(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode()
