"""Silences from inside Airflow: the DAG `alert_silence` sets them, monitor and failure callbacks obey them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from include.catalogue import CONDITIONS
from include.on_airflow.connections import s3_client
from include.on_airflow.refusal import RunParameterError
from include.reasons import reason_of
from include.settings import StorageSettings, load_group
from include.state import silences
from include.state.json_object import StateUnreadableError
from include.state.silences import Silence, Silences

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

MOST_HOURS = 7 * 24
"""A silence that somebody forgot ends within a week."""


def known(s3: S3Client, storage: StorageSettings) -> Silences:
    """The silences; none when they cannot be read, so that a fault is mailed and not hidden."""
    try:
        return silences.read(s3, storage)[0]
    except (ClientError, BotoCoreError, StateUnreadableError) as error:
        log.error("every alert is mailed, because the silences cannot be read: %s", reason_of(error))
        return {}


def of_params(params: Mapping[str, Any], user: str, now: datetime) -> tuple[str, Silence]:
    """The name and the silence that a run's parameters ask for; with 0 hours it ends now.

    Raises:
        RunParameterError: there is no such condition, or the reason is empty.
    """
    name, reason = str(params["alert"]).strip(), " ".join(str(params["reason"]).split())
    if name.partition(":")[0] not in CONDITIONS:
        raise RunParameterError(f"alert is {name!r}: begin with one of {', '.join(CONDITIONS)}")
    if not reason and params["hours"]:
        raise RunParameterError("reason is empty: the next mail and Pipeline Health show it, so write why")
    return name, Silence(now + timedelta(hours=params["hours"]), reason, user)


def carry_out(name: str, silence: Silence, now: datetime) -> None:
    """Write the silence.

    Raises:
        StateUnreadableError, StateChangedError, ClientError, BotoCoreError: as `silences.put`.
    """
    silences.put(s3_client(), load_group(StorageSettings), name, silence, now)
    log.info("%s is silenced %s", name, silence)
