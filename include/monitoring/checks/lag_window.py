"""The last samples of Kafka, kept in one S3 object (`state/lag_window.json`) from run to run of the monitor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from include.instants import Instant
from include.monitoring.checks.lag import Sample
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class LagWindow(msgspec.Struct, frozen=True):
    """Samples by partition, and pairs (time of a sample, time of the oldest unread record then), oldest first."""

    samples: Mapping[int, Sequence[Sample]]
    unread: Sequence[tuple[Instant, Instant]]


EMPTY = LagWindow({}, [])


def key(storage: StorageSettings) -> str:
    """Key of the object."""
    return f"{storage.state_prefix}lag_window.json"


def read(s3: S3Client, storage: StorageSettings) -> LagWindow:
    """The window; empty before the first sample.

    Raises:
        StateUnreadableError: the object exists but is broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    remedy = "the next run of the monitor starts it again"
    stored = json_object.read(s3, storage.bucket, key(storage), LagWindow, remedy)
    return stored[0] if stored else EMPTY


def write(s3: S3Client, storage: StorageSettings, window: LagWindow) -> None:
    """Write the window.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    json_object.write(s3, storage.bucket, key(storage), window)
