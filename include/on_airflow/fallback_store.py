"""Keeps the alert state in an Airflow Variable while S3 cannot be read or written.

Without the Variable an outage of S3 would cause no mail, or a mail in each run of the monitor. The
first run that reaches S3 again moves the content into the alert state and deletes the Variable.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime

import msgspec
from airflow.sdk import Variable
from botocore.exceptions import BotoCoreError, ClientError
from msgspec.structs import replace

from include.monitoring.alerts.model import NO_ALERTS, AlertState
from include.monitoring.alerts.store import AlertStore, S3AlertStore, update
from include.reasons import reason_of
from include.state import json_object

log = logging.getLogger(__name__)

VARIABLE = "monitor_alerts_without_s3"


class VariableAlertStore:
    """The alert state as an Airflow Variable. It assumes one writer: only one run of the monitor is active."""

    def load(self) -> tuple[AlertState, str | None]:
        """The state; empty when there is no Variable."""
        content = Variable.get(VARIABLE, default=None)
        return (msgspec.json.decode(content, type=AlertState), VARIABLE) if content else (NO_ALERTS, None)

    def save(self, state: AlertState, version: str | None) -> None:  # noqa: ARG002
        """Write the state; an earlier state is replaced."""
        content = json.dumps(msgspec.to_builtins(state))
        Variable.set(VARIABLE, content, description="Alert state while S3 cannot be read or written")


def store_in_force(primary: S3AlertStore) -> tuple[AlertStore, str]:
    """The store to use now, and the reason when it is not S3 (else empty)."""
    try:
        primary.require()
    except (ClientError, BotoCoreError, json_object.StateUnreadableError) as error:
        log.error("the alert state cannot be kept in S3, so the Variable %s keeps it: %s", VARIABLE, reason_of(error))
        return VariableAlertStore(), reason_of(error)
    return primary, ""


def move_back(primary: S3AlertStore, now: datetime) -> None:
    """Move the content of the Variable into S3 and delete the Variable, if there is one."""
    kept, version = VariableAlertStore().load()
    if version is None:
        return

    def merge(state: AlertState) -> tuple[AlertState, None]:
        # An alert that is open in S3 began earlier than the alert of the same key in the Variable.
        return replace(state, open={**kept.open, **state.open}, outbox=(*state.outbox, *kept.outbox)), None

    update(primary, merge)
    Variable.delete(VARIABLE)
    log.info("alert state moved back to S3 at %s: %d open, %d notices", now, len(kept.open), len(kept.outbox))
