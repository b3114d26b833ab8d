"""What the monitor's looks at the DAGs have shown, kept in one S3 object (`state/dag_runs.json`) from run to run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from include.monitoring.checks.dag_runs import Memory
from include.reasons import reason_of
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)


def key(storage: StorageSettings) -> str:
    """Key of the object."""
    return f"{storage.state_prefix}dag_runs.json"


def read(s3: S3Client, storage: StorageSettings) -> tuple[dict[str, Memory], str]:
    """The memory by DAG, and the reason when it cannot be read. A broken object is begun again."""
    try:
        stored = json_object.read(
            s3, storage.bucket, key(storage), dict[str, Memory], "the next run of the monitor starts it again"
        )
    except json_object.StateUnreadableError as error:
        log.warning("the memory of the DAGs' runs is broken and begins again: %s", error)
        return {}, ""
    except (ClientError, BotoCoreError) as error:
        log.warning("the memory of the DAGs' runs cannot be read: %s", reason_of(error))
        return {}, f"earlier runs are not known: {reason_of(error)}"
    return (stored[0] if stored else {}), ""


def write(s3: S3Client, storage: StorageSettings, memory: Mapping[str, Memory]) -> str:
    """Write the memory; returns the reason when S3 does not take it."""
    try:
        json_object.write(s3, storage.bucket, key(storage), memory)
    except (ClientError, BotoCoreError) as error:
        log.warning("the memory of the DAGs' runs was not written: %s", reason_of(error))
        return f"the next run of the monitor does not know these runs: {reason_of(error)}"
    return ""
