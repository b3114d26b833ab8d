"""Small JSON objects in S3 that carry state from one run to the next.

Every function takes a boto3 S3 client: from the amazon provider's hook inside Airflow, from
`boto3.client("s3")` in the demo's status screen. Types are msgspec's: a struct, or a dict of structs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import msgspec
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

State = TypeVar("State")

_ABSENT = {"NoSuchKey", "404", "NotFound"}
_CONFLICT = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


class StateChangedError(RuntimeError):
    """Another writer changed the object since it was read: read again and repeat."""


class StateUnreadableError(RuntimeError):
    """The object exists but its content is not of the expected type; the text names key, fault and remedy."""


def read(s3: S3Client, bucket: str, key: str, kind: type[State], remedy: str) -> tuple[State, str] | None:
    """The object's content as `kind` and its ETag, or None when there is no such object.

    Raises:
        StateUnreadableError: the content is not such a JSON object; the text ends with `remedy`.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    try:
        response = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in _ABSENT:
            return None
        raise
    try:
        return msgspec.json.decode(response["Body"].read(), type=kind), response["ETag"]
    except ValueError as error:
        raise StateUnreadableError(f"s3://{bucket}/{key} is not readable ({error}): {remedy}") from error


@contextmanager
def noting(unreadable: dict[str, str] | None, key: str) -> Iterator[None]:
    """Note an unreadable object of the block in `unreadable` (key -> fault), so that it hides no other object.

    Raises:
        StateUnreadableError: the object is unreadable, and `unreadable` is None.
    """
    try:
        yield
    except StateUnreadableError as error:
        if unreadable is None:
            raise
        unreadable[key] = str(error)


def write(s3: S3Client, bucket: str, key: str, content: object) -> None:
    """Write the object; an object with this key is replaced."""
    s3.put_object(Bucket=bucket, Key=key, Body=_encode(content), ContentType="application/json")


def replace(s3: S3Client, bucket: str, key: str, content: object, etag: str | None) -> None:
    """Write the object only if it still has the `etag` that was read or, with `etag` None, if it is still absent.

    Raises:
        StateChangedError: another writer changed it.
    """
    body = _encode(content)
    try:
        if etag is None:
            s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", IfNoneMatch="*")
        else:
            s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", IfMatch=etag)
    except ClientError as error:
        # An object that was deleted since it was read answers 404 to If-Match.
        if error.response["Error"]["Code"] in _CONFLICT | _ABSENT:
            raise StateChangedError(f"s3://{bucket}/{key} was changed by another writer") from error
        raise


def _encode(content: object) -> bytes:
    return json.dumps(msgspec.to_builtins(content, str_keys=True), indent=1, sort_keys=True).encode()
