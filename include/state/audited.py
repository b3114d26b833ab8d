"""The verdict of the last audit (`state/audit.json`): the audit writes it, the monitor reads it.

The manifests have the proof. This object has what a mail needs, so the monitor reads no manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MOST_LINES = 10
"""Findings that the object holds as text; the log of the task and the manifests have all."""


class Audited(msgspec.Struct, frozen=True):
    """The last audit, at `at`. `days` are the days that it looked at, `day` is the newest that has a manifest.

    `day` and `root` are empty before the first manifest. `waiting` says why a day has none yet; empty if none waits.
    """

    at: Instant
    day: str
    root: str
    days: Sequence[str]
    findings: int
    lines: Sequence[str]
    waiting: str = ""


def key(storage: StorageSettings) -> str:
    """Key of the object."""
    return f"{storage.state_prefix}audit.json"


def read(s3: S3Client, storage: StorageSettings) -> Audited | None:
    """The last audit, or None before the first.

    Raises:
        StateUnreadableError: the object exists but is broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    remedy = "the next audit writes it again"
    stored = json_object.read(s3, storage.bucket, key(storage), Audited, remedy)
    return stored[0] if stored else None


def encode(audited: Audited) -> bytes:
    """The object's body; the audit writes it with its own S3 client."""
    return msgspec.json.encode(audited)
