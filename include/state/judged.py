"""The monitor's last verdict on each condition (`state/conditions.json`).

The alert state has only the open alerts. Without this object a condition about which nothing is known looks like one
that is well. Each run of the monitor writes it; Pipeline Health and the demo's status read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Judged(msgspec.Struct, frozen=True):
    """One verdict; `value` is the number in words or, if the outcome is unknown, the reason. `details` are texts."""

    outcome: Literal["ok", "breached", "unknown"]
    value: str
    details: tuple[str, ...] = ()


class JudgedConditions(msgspec.Struct, frozen=True):
    """The verdicts of one run of the monitor at `at`, by condition. Nothing is known about a condition without one."""

    at: Instant
    conditions: Mapping[str, Judged]


def key(storage: StorageSettings) -> str:
    """Key of the object."""
    return f"{storage.state_prefix}conditions.json"


def read(s3: S3Client, storage: StorageSettings) -> JudgedConditions | None:
    """The verdicts, or None before the first run of a monitor that writes them.

    Raises:
        StateUnreadableError: the object exists but is broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    remedy = "the next run of the monitor writes it again"
    stored = json_object.read(s3, storage.bucket, key(storage), JudgedConditions, remedy)
    return stored[0] if stored else None


def write(s3: S3Client, storage: StorageSettings, judged: JudgedConditions) -> None:
    """Write the verdicts.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    json_object.write(s3, storage.bucket, key(storage), judged)
