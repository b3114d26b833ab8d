"""Keeps the alert state in an Airflow Variable while S3 cannot be read or written.

Without it a mail that S3 is down would be sent again in every tick of the monitor. The
first tick that reaches S3 again moves what is here into the alert state and deletes the
Variable.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime

from airflow.sdk import Variable
from botocore.exceptions import BotoCoreError, ClientError

from include.monitoring.alerts.model import AlertState
from include.monitoring.alerts.store import AlertStore, S3AlertStore, update
from include.state import json_object

log = logging.getLogger(__name__)

VARIABLE = "monitor_alerts_without_s3"


class VariableAlertStore:
    """The alert state as an Airflow Variable. One writer at a time is assumed: the monitor runs once at a time."""

    def load(self) -> tuple[AlertState, str | None]:
        """The state; empty when there is no Variable."""
        content = Variable.get(VARIABLE, default=None)
        return (AlertState.from_json(json.loads(content)), VARIABLE) if content else (AlertState(), None)

    def save(self, state: AlertState, version: str | None) -> None:  # noqa: ARG002
        """Write the state, whatever is there."""
        Variable.set(VARIABLE, json.dumps(state.to_json()), description="Alert state while S3 is out of reach")


def store_in_force(primary: S3AlertStore) -> tuple[AlertStore, str]:
    """The store to use now, and why it is not S3 (empty when it is)."""
    try:
        primary.require()
    except (ClientError, BotoCoreError, json_object.StateUnreadableError) as error:
        log.error("the alert state cannot be kept in S3, using the Variable %s: %s", VARIABLE, error)
        return VariableAlertStore(), str(error)
    return primary, ""


def move_back(primary: S3AlertStore, now: datetime) -> None:
    """Move what was kept in the Variable into S3 and delete the Variable; nothing to do without one."""
    kept, version = VariableAlertStore().load()
    if version is None:
        return

    def merge(state: AlertState) -> tuple[AlertState, None]:
        # An alert that was open in S3 before began earlier than its copy made without S3.
        return AlertState({**kept.open, **state.open}, (*state.outbox, *kept.outbox)), None

    update(primary, merge)
    Variable.delete(VARIABLE)
    log.info("alert state moved back to S3 at %s: %d open, %d notices", now, len(kept.open), len(kept.outbox))
