"""How far the full refresh of a table is (`state/rebuilds/TABLE.json`).

On Athena bronze is loaded again day by day, beside the old table, maybe in several runs. Readers of this object know
without a query whether such a rebuild is under way, and what it still has to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object
from include.state.layer_state import DagRunRef

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Rebuild(msgspec.Struct, frozen=True):
    """`done` of the `of` queries have ended; with all of them the new table replaces the old one.

    All files with a Kafka time before `files_until` are in the new table.
    """

    table: str
    at: Instant
    done: int
    of: int
    files_until: Instant
    run: DagRunRef


def key(storage: StorageSettings, table: str) -> str:
    """Key of the table's object."""
    return f"{storage.state_prefix}rebuilds/{table}.json"


def read(s3: S3Client, storage: StorageSettings, table: str) -> Rebuild | None:
    """The last rebuild of the table; None when it was never rebuilt in this way.

    Raises:
        StateUnreadableError: the object exists but is broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    remedy = "the next query of a rebuild writes it again"
    stored = json_object.read(s3, storage.bucket, key(storage, table), Rebuild, remedy)
    return stored[0] if stored else None


def write(s3: S3Client, storage: StorageSettings, rebuild: Rebuild) -> None:
    """Write it in place of the table's earlier one.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    json_object.write(s3, storage.bucket, key(storage, rebuild.table), rebuild)
