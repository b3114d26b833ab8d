"""Keeps the alert state in S3; a write succeeds only if no other writer wrote since the read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from include.instants import to_text
from include.monitoring.alerts.model import NO_ALERTS, AlertState
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ATTEMPTS = 40
"""Enough for the monitor and a dozen callbacks with three changes each: in each conflict one of them has succeeded."""

Result = TypeVar("Result")


class AlertStore(Protocol):
    """Keeps the alert state."""

    def load(self) -> tuple[AlertState, str | None]:
        """The state and its version (None: there is no state yet)."""
        ...

    def save(self, state: AlertState, version: str | None) -> None:
        """Write the state. Raises StateChangedError when the stored state does not have this `version` any more."""
        ...


@dataclass(frozen=True, slots=True)
class S3AlertStore:
    """The alert state as one object in the bucket."""

    s3: S3Client
    storage: StorageSettings

    @property
    def key(self) -> str:
        """Key of the object."""
        return f"{self.storage.state_prefix}alerts.json"

    def load(self) -> tuple[AlertState, str | None]:
        """The state; empty before the first alert.

        Raises:
            StateUnreadableError: the object exists but is broken.
            ClientError, BotoCoreError: S3 refused or could not be reached.
        """
        remedy = "delete it to start without open alerts"
        stored = json_object.read(self.s3, self.storage.bucket, self.key, AlertState, remedy)
        return stored or (NO_ALERTS, None)

    def save(self, state: AlertState, version: str | None) -> None:
        """Write the state if the object is still at `version`.

        Raises:
            StateChangedError: another writer changed it.
            ClientError, BotoCoreError: S3 refused or could not be reached.
        """
        json_object.replace(self.s3, self.storage.bucket, self.key, state, version)

    def require(self) -> None:
        """Read the state, and write an object beside it, because a bucket that refuses writes cannot keep the state.

        Raises:
            StateUnreadableError: the state is broken.
            ClientError, BotoCoreError: S3 refused the read or the write, or could not be reached.
        """
        self.load()
        probe_key = f"{self.storage.state_prefix}alerts_can_be_written.json"
        json_object.write(self.s3, self.storage.bucket, probe_key, {"at": to_text(datetime.now(UTC))})


def update(store: AlertStore, change: Callable[[AlertState], tuple[AlertState, Result]]) -> Result:
    """Read, change and write the state; repeat it when another writer wrote in between. An equal state is not written.

    Raises:
        StateChangedError: another writer was faster each time.
    """
    for attempt in range(ATTEMPTS):
        state, version = store.load()
        after, result = change(state)
        if after == state:
            return result
        try:
            store.save(after, version)
            return result
        except json_object.StateChangedError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")
