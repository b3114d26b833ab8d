"""The numbers of the monitor's last run, and the thresholds in force then (`state/metrics.json`).

CloudWatch has the history of these numbers. Each run of the monitor replaces this object with the newest ones, for
readers without CloudWatch: Pipeline Health's metrics for Prometheus.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from include.catalogue import Layer
from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Number(msgspec.Struct, frozen=True):
    """One number of a metric of the catalogue, in the metric's unit; `layer` is None for a metric without layers."""

    metric: str
    value: float
    layer: Layer | None = None


class MonitorNumbers(msgspec.Struct, frozen=True):
    """The numbers of a run at `at`; one that was not known is not there. `thresholds` is by condition."""

    at: Instant
    numbers: tuple[Number, ...]
    thresholds: Mapping[str, float]


def key(storage: StorageSettings) -> str:
    """Key of the object."""
    return f"{storage.state_prefix}metrics.json"


def read(s3: S3Client, storage: StorageSettings) -> MonitorNumbers | None:
    """The numbers, or None before the first run of a monitor that writes them.

    Raises:
        StateUnreadableError: the object exists but is broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    remedy = "the next run of the monitor writes it again"
    stored = json_object.read(s3, storage.bucket, key(storage), MonitorNumbers, remedy)
    return stored[0] if stored else None


def write(s3: S3Client, storage: StorageSettings, numbers: MonitorNumbers) -> None:
    """Write the numbers.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    json_object.write(s3, storage.bucket, key(storage), numbers)
