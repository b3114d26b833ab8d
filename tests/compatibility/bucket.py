"""A bucket in memory with the objects that version 0.1.0 wrote.

Code for obstore uses `Bucket`, and code for boto3 uses `S3`, on the same objects.

- `fixtures/plain`, `gzip` and `resized` are a bucket each. The path of a file is its key.
- `fixtures/plain.metadata.json` has the user metadata of the landed objects, by key.
- `fixtures/airflow_variables` has the content of each Airflow Variable, by its name.
- `fixtures/kafka/commit.json` is a commit of the group.
- `fixtures/dbt/target` has dbt's files, from which the file of the test history was written.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import obstore
from botocore.exceptions import ClientError
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import MemoryStore

FIXTURES = Path(__file__).parent / "fixtures"


class Bucket(MemoryStore):
    """An S3 in memory, with conditional writes and metadata."""

    config = {"bucket": "lake"}  # noqa: RUF012 - the guard of our IAM policies reads it, as of an S3Store


class S3:
    """The calls of a boto3 client that state objects and listings need."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def get_object(self, **request: Any) -> dict[str, Any]:
        try:
            response = obstore.get(self._bucket, request["Key"])
        except FileNotFoundError as error:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": request["Key"]}}, "GetObject") from error
        return {"Body": io.BytesIO(bytes(response.bytes())), "ETag": response.meta["e_tag"]}

    def put_object(self, **request: Any) -> None:
        version = {"e_tag": request["IfMatch"]} if "IfMatch" in request else None
        mode: Any = "create" if "IfNoneMatch" in request else version or "overwrite"
        try:
            obstore.put(self._bucket, request["Key"], request["Body"], mode=mode)
        except (AlreadyExistsError, PreconditionError) as error:
            raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": ""}}, "PutObject") from error

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        contents = [
            {"Key": entry["path"], "Size": entry["size"], "LastModified": entry["last_modified"]}
            for page in obstore.list(self._bucket, prefix=request["Prefix"], offset=request.get("StartAfter"))
            for entry in page
        ]
        return {"Contents": sorted(contents, key=lambda entry: str(entry["Key"]))}

    def get_paginator(self, operation: str) -> S3:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        yield self.list_objects_v2(**request)


def files(name: str) -> dict[str, bytes]:
    """The objects of the fixture bucket `name`, by key."""
    folder = FIXTURES / name
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def attributes(name: str) -> dict[str, dict[str, str]]:
    """User metadata and content type of the landed objects of the fixture bucket `name`, by key."""
    by_key: dict[str, dict[str, str]] = json.loads((FIXTURES / f"{name}.metadata.json").read_text())
    return by_key


def stored(name: str) -> Bucket:
    """The fixture bucket `name`."""
    bucket, by_key = Bucket(), attributes(name)
    for key, content in files(name).items():
        obstore.put(bucket, key, content, attributes=by_key.get(key))
    return bucket


def objects(bucket: Bucket) -> dict[str, bytes]:
    """The content of a bucket now, by key."""
    keys = [entry["path"] for page in obstore.list(bucket) for entry in page]
    return {key: bytes(obstore.get(bucket, key).bytes()) for key in keys}


def fields(content: bytes) -> str:
    """Content of a JSON object as text that differs when a name, a value or a type differs (1 is not 1.0)."""
    return json.dumps(json.loads(content), sort_keys=True, indent=1)


def at(text: str) -> datetime:
    """An instant from a UTC text without a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
