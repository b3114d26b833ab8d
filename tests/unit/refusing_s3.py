"""An S3 client that refuses one operation. The emulator cannot do that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def s3_that_refuses(operation: str, code: str = "AccessDenied") -> S3Client:
    """A client whose calls of `operation` (botocore's name, for example PutObject) fail with the error `code`."""
    s3 = boto3.client("s3")

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": f"{operation} is refused"}}, operation)

    s3.meta.events.register(f"before-call.s3.{operation}", refuse)
    return s3
