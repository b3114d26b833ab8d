"""Alerts that are over (`state/past_alerts.json`), for Pipeline Health: the alert state has only the open ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from include.catalogue import Severity
from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEPT_FOR = timedelta(days=7)
"""The longest range of a trend."""
MOST = 200
"""Past alerts that are kept at most, the newest ones."""


class PastAlert(msgspec.Struct, frozen=True):
    """One alert from its first evidence to its end. `cause` is the key of the alert that explained it, or empty."""

    key: str
    condition: str
    severity: Severity
    title: str
    began_at: Instant
    ended_at: Instant
    value: str = ""
    cause: str = ""


def key(storage: StorageSettings) -> str:
    """Key of the object."""
    return f"{storage.state_prefix}past_alerts.json"


def read(s3: S3Client, storage: StorageSettings) -> list[PastAlert]:
    """The alerts of the last days that are over, the newest end first.

    Raises:
        StateUnreadableError: the object exists but is broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    remedy = "delete it: only the list of past alerts is lost"
    stored = json_object.read(s3, storage.bucket, key(storage), list[PastAlert], remedy)
    return stored[0] if stored else []


def kept(alerts: Iterable[PastAlert], now: datetime) -> Sequence[PastAlert]:
    """Those that are young enough to be shown, the newest end first."""
    young = (alert for alert in alerts if now - alert.ended_at <= KEPT_FOR)
    return sorted(young, key=lambda alert: alert.ended_at, reverse=True)[:MOST]


def add(s3: S3Client, storage: StorageSettings, ended: Sequence[PastAlert], now: datetime) -> None:
    """Add alerts that ended now. Only the monitor's one task ends alerts, so there is one writer.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    if not ended:
        return
    try:
        before = read(s3, storage)
    except json_object.StateUnreadableError:
        before = []  # replaced by this list
    json_object.write(s3, storage.bucket, key(storage), kept([*ended, *before], now))
