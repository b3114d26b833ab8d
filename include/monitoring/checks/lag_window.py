"""The last looks at Kafka, kept in one S3 object (`state/lag_window.json`) from tick to tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from include.instants import from_text, to_text
from include.monitoring.checks.lag import Sample
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class LagWindow:
    """Samples by partition, and (time of the look, time of the oldest unread record then), oldest look first."""

    samples: Mapping[int, Sequence[Sample]] = field(default_factory=dict)
    unread: Sequence[tuple[datetime, datetime]] = ()


def key(storage: StorageSettings) -> str:
    """Key of the object."""
    return f"{storage.state_prefix}lag_window.json"


def read(s3: S3Client, storage: StorageSettings) -> LagWindow:
    """The window; empty before the first look.

    Raises:
        StateUnreadableError: the object is there but broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    found = json_object.read(s3, storage.bucket, key(storage))
    if found is None:
        return LagWindow()
    content = found[0]
    try:
        samples = {
            int(partition): [Sample(from_text(at), int(position), int(behind)) for at, position, behind in rows]
            for partition, rows in content["samples"].items()
        }
        return LagWindow(samples, [(from_text(at), from_text(since)) for at, since in content["unread"]])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise json_object.StateUnreadableError(
            f"s3://{storage.bucket}/{key(storage)} is no lag window ({type(error).__name__}: {error})"
        ) from error


def write(s3: S3Client, storage: StorageSettings, window: LagWindow) -> None:
    """Write the window.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    content = {
        "samples": {
            str(partition): [[to_text(one.at), one.position, one.lag] for one in samples]
            for partition, samples in window.samples.items()
        },
        "unread": [[to_text(at), to_text(since)] for at, since in window.unread],
    }
    json_object.write(s3, storage.bucket, key(storage), content)
