"""The state of each layer after its last build: rows, newest quote, test results, run.

The transform DAG writes one object for each layer (`state/layers/gold.json`). Monitor, status
screen and health page read these objects and never query the warehouse: while a process writes
to DuckDB no other process can read it, and on Athena every query would cost money.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import msgspec
from msgspec.structs import replace

from include.catalogue import LAYERS, Layer, Stage
from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object
from include.state.dbt_tests import DbtTests
from include.state.latency import RecentLatency
from include.state.record_fields import RecordFields

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class DagRunRef(msgspec.Struct, frozen=True):
    """The Airflow run that left a state; `url` opens it."""

    dag_id: str
    run_id: str
    url: str

    @classmethod
    def of(cls, dag_id: str, run_id: str, airflow_url: str) -> Self:
        """The run with its page in the Airflow at `airflow_url`."""
        return cls(dag_id, run_id, f"{airflow_url.rstrip('/')}/dags/{dag_id}/runs/{run_id}")


class RefusedRows(msgspec.Struct, frozen=True):
    """Rows that the runs of one UTC day (like 2026-11-30) put into quarantine by one rule."""

    day: str
    rule: str
    rows: int


class QuarantineCount(msgspec.Struct, frozen=True):
    """Rows that the last day's runs of silver accepted, and rows that a business rule refused; no duplicates.

    `by_rule` has the refused rows of the last seven days, the newest day first.
    """

    accepted: int
    refused: int
    by_rule: tuple[RefusedRows, ...] = ()

    @property
    def percent(self) -> float | None:
        """Share of the refused rows in percent; None without a row."""
        rows = self.accepted + self.refused
        return 100 * self.refused / rows if rows else None


class LayerState(msgspec.Struct, frozen=True):
    """One layer after its last build. `newest_quote_at` is None when the table has no rows.

    `scanned` has the bytes that the build and its tests read, by model; empty where the warehouse does not report them.
    Only silver has a `quarantine`, if its tables were there. Only bronze has `record_fields`, if it had records.
    `latency` has the stages that the layer's builds measure.
    """

    layer: Layer
    model: str
    rows: int
    newest_quote_at: Instant | None
    finished_at: Instant
    tests: DbtTests
    run: DagRunRef
    scanned: Mapping[str, int] = {}
    quarantine: QuarantineCount | msgspec.UnsetType = msgspec.UNSET
    latency: Mapping[Stage, RecentLatency] | msgspec.UnsetType = msgspec.UNSET
    record_fields: RecordFields | msgspec.UnsetType = msgspec.UNSET


def key(storage: StorageSettings, layer: Layer) -> str:
    """Key of the layer's object."""
    return f"{storage.state_prefix}layers/{layer}.json"


def read(s3: S3Client, storage: StorageSettings, layer: Layer) -> LayerState | None:
    """The layer's state, or None when it was never built.

    Raises:
        StateUnreadableError: the object exists but is broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    remedy = "the next build of the layer writes it again"
    stored = json_object.read(s3, storage.bucket, key(storage, layer), LayerState, remedy)
    return stored[0] if stored else None


def read_all(
    s3: S3Client, storage: StorageSettings, unreadable: dict[str, str] | None = None
) -> dict[Layer, LayerState | None]:
    """The states of all layers, None for a layer that was never built.

    A broken object is noted in `unreadable` (key -> fault), and its layer is left out.

    Raises:
        StateUnreadableError: an object is broken, and `unreadable` is None.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    states: dict[Layer, LayerState | None] = {}
    for layer in LAYERS:
        with json_object.noting(unreadable, key(storage, layer)):
            states[layer] = read(s3, storage, layer)
    return states


def write(s3: S3Client, storage: StorageSettings, state: LayerState) -> LayerState:
    """Write the layer's state; `since` of a test that failed before is taken over. Returns the written state."""
    try:
        before = read(s3, storage, state.layer)
    except json_object.StateUnreadableError:
        before = None  # replaced by this state
    written = replace(state, tests=state.tests.dated(before.tests if before else None, state.finished_at))
    json_object.write(s3, storage.bucket, key(storage, state.layer), written)
    return written
