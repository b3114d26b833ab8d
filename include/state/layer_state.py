"""What the last build of a layer left: rows, newest quote, test results, run.

The transform DAG writes one object a layer (`state/layers/gold.json`); monitor, status
screen and health page read it and never ask the warehouse: DuckDB lets nobody read while
one writes, and on Athena every look would cost a query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from include.catalogue import LAYERS, Layer
from include.instants import from_text, to_text
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TestSeverity = Literal["error", "warn"]


@dataclass(frozen=True, slots=True)
class FailingTest:
    """A dbt test that failed (`error`) or warned (`warn`) in the layer's last build.

    `failures` is dbt's count of failing rows, `since` the end of the first build in which
    it failed without a break, `rows` a text with some of the rows.
    """

    name: str
    severity: TestSeverity
    failures: int
    message: str
    since: datetime | None = None
    rows: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the object."""
        return {
            "name": self.name,
            "severity": self.severity,
            "failures": self.failures,
            "message": self.message,
            "since": to_text(self.since) if self.since else None,
            "rows": self.rows,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        since = content.get("since")
        return cls(
            name=content["name"],
            severity=content["severity"],
            failures=int(content["failures"]),
            message=content["message"],
            since=from_text(since) if since else None,
            rows=content.get("rows", ""),
        )


@dataclass(frozen=True, slots=True)
class LayerTests:
    """Counts of tests in a last build or run; `failing` names those that warned or failed."""

    passed: int = 0
    warned: int = 0
    failed: int = 0
    failing: tuple[FailingTest, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it stands in the object."""
        return {
            "passed": self.passed,
            "warned": self.warned,
            "failed": self.failed,
            "failing": [test.to_json() for test in self.failing],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            passed=int(content["passed"]),
            warned=int(content["warned"]),
            failed=int(content["failed"]),
            failing=tuple(FailingTest.from_json(test) for test in content["failing"]),
        )


@dataclass(frozen=True, slots=True)
class Run:
    """The Airflow run that left a state; `url` opens it."""

    dag_id: str
    run_id: str
    url: str

    @classmethod
    def of(cls, dag_id: str, run_id: str, airflow_url: str) -> Self:
        """The run with its page in the Airflow at `airflow_url`."""
        return cls(dag_id, run_id, f"{airflow_url.rstrip('/')}/dags/{dag_id}/runs/{run_id}")

    def to_json(self) -> dict[str, Any]:
        """As it stands in the object."""
        return {"dag_id": self.dag_id, "run_id": self.run_id, "url": self.url}


@dataclass(frozen=True, slots=True)
class LayerState:
    """One layer after its last build. `newest_quote_at` is None when the table has no rows.

    `scanned` is by model how many bytes its build and its tests read; empty where the warehouse does not tell.
    """

    layer: Layer
    model: str
    rows: int
    newest_quote_at: datetime | None
    finished_at: datetime
    tests: LayerTests
    run: Run
    scanned: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object's content; times are ISO 8601, UTC."""
        return {
            "layer": self.layer,
            "model": self.model,
            "rows": self.rows,
            "newest_quote_at": to_text(self.newest_quote_at) if self.newest_quote_at else None,
            "finished_at": to_text(self.finished_at),
            "tests": self.tests.to_json(),
            "run": self.run.to_json(),
            "scanned": dict(self.scanned),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            StateUnreadableError: a field is missing or has another type.
        """
        try:
            newest, run = content["newest_quote_at"], content["run"]
            return cls(
                layer=content["layer"],
                model=content["model"],
                rows=int(content["rows"]),
                newest_quote_at=from_text(newest) if newest else None,
                finished_at=from_text(content["finished_at"]),
                tests=LayerTests.from_json(content["tests"]),
                run=Run(run["dag_id"], run["run_id"], run["url"]),
                scanned=dict(content.get("scanned", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise json_object.StateUnreadableError(
                f"a layer state is not readable ({type(error).__name__}: {error}); the next build writes it anew"
            ) from error


def key(storage: StorageSettings, layer: Layer) -> str:
    """Key of the layer's object."""
    return f"{storage.state_prefix}layers/{layer}.json"


def read(s3: S3Client, storage: StorageSettings, layer: Layer) -> LayerState | None:
    """The layer's state, or None when it was never built.

    Raises:
        StateUnreadableError: the object is there but broken.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    return json_object.read_as(s3, storage.bucket, key(storage, layer), LayerState.from_json)


def read_all(s3: S3Client, storage: StorageSettings) -> dict[Layer, LayerState | None]:
    """The states of all layers, None for one that was never built."""
    return {layer: read(s3, storage, layer) for layer in LAYERS}


def write(s3: S3Client, storage: StorageSettings, state: LayerState) -> LayerState:
    """Write the layer's state; `since` of a test that failed before is carried over. Returns what was written."""
    try:
        before = read(s3, storage, state.layer)
    except json_object.StateUnreadableError:
        before = None  # it is written anew
    written = replace(state, tests=with_since(state.tests, before.tests if before else None, state.finished_at))
    json_object.write(s3, storage.bucket, key(storage, state.layer), written.to_json())
    return written


def with_since(tests: LayerTests, before: LayerTests | None, finished_at: datetime) -> LayerTests:
    """The tests, each failing one with the end of the first build in which it failed without a break."""
    known = {test.name: test.since for test in before.failing} if before else {}
    dated = (replace(test, since=test.since or known.get(test.name) or finished_at) for test in tests.failing)
    return replace(tests, failing=tuple(dated))
