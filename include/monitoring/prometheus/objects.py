"""The state objects that a scrape reads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from include.catalogue import Layer
from include.monitoring.alerts.model import AlertState
from include.monitoring.alerts.store import S3AlertStore
from include.settings import StorageSettings
from include.state import json_object, judged, layer_state, monitor_numbers
from include.state.judged import JudgedConditions
from include.state.layer_state import LayerState
from include.state.monitor_numbers import MonitorNumbers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StateObjects:
    """The content of the objects. None: the object does not exist yet, or is named in `unreadable` (key -> fault)."""

    numbers: MonitorNumbers | None = None
    judged: JudgedConditions | None = None
    alerts: AlertState | None = None
    layers: Mapping[Layer, LayerState | None] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)


def read(s3: S3Client, storage: StorageSettings) -> StateObjects:
    """Read all objects. A broken one is logged and hides no other.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    unreadable: dict[str, str] = {}
    numbers = verdicts = alerts = None
    store = S3AlertStore(s3, storage)
    with json_object.noting(unreadable, monitor_numbers.key(storage)):
        numbers = monitor_numbers.read(s3, storage)
    with json_object.noting(unreadable, judged.key(storage)):
        verdicts = judged.read(s3, storage)
    with json_object.noting(unreadable, store.key):
        alerts, _ = store.load()
    layers = layer_state.read_all(s3, storage, unreadable)
    for fault in unreadable.values():
        log.warning("a state object is left out of the metrics: %s", fault)
    return StateObjects(numbers, verdicts, alerts, layers, unreadable)
