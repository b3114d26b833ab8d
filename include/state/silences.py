"""Silences: conditions and alerts about which nobody is mailed for a time (`state/silences.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from include.instants import Instant, to_second
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REMEDY = "delete it to mail every alert again"


class Silence(msgspec.Struct, frozen=True):
    """No mails until `until`; `by` is the user in Airflow, '' if Airflow does not name one."""

    until: Instant
    reason: str
    by: str = ""

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        return f"until {to_second(self.until)}{by}: {self.reason}"


Silences = Mapping[str, Silence]
"""Name of a condition, or key of one alert (`dbt_tests:not_null_price`) -> its silence."""


def in_force(silences: Silences, key: str, now: datetime) -> Silence | None:
    """The silence of the alert `key` at `now`; one of the alert itself comes before that of its condition."""
    for name in (key, key.partition(":")[0]):
        silence = silences.get(name)
        if silence and silence.until > now:
            return silence
    return None


def key(storage: StorageSettings) -> str:
    """Key of the object."""
    return f"{storage.state_prefix}silences.json"


def read(s3: S3Client, storage: StorageSettings) -> tuple[dict[str, Silence], str | None]:
    """The silences, those that ended included, and the object's version (None: no object exists yet).

    Raises:
        StateUnreadableError: the object exists but is broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    stored = json_object.read(s3, storage.bucket, key(storage), dict[str, Silence], REMEDY)
    return stored or ({}, None)


def put(s3: S3Client, storage: StorageSettings, name: str, silence: Silence, now: datetime) -> None:
    """Add or replace the silence of `name`; silences that have ended go.

    Raises:
        StateUnreadableError, ClientError, BotoCoreError: as `read`.
        StateChangedError: another writer changed the object at the same moment; repeat it.
    """
    silences, version = read(s3, storage)
    kept = {other: known for other, known in (silences | {name: silence}).items() if known.until > now}
    json_object.replace(s3, storage.bucket, key(storage), kept, version)
