"""Reads the results of one dbt invocation from `target/run_results.json` and `target/manifest.json`.

Log, mail and layer state show the results; the test history keeps them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from include.catalogue import LAYERS
from include.instants import from_text
from include.state.dbt_tests import DbtTests, FailingTest

CROSS_LAYER = "cross_layer"
"""Layer of a test that reads models of several layers."""

FAILED = frozenset({"fail", "error"})
"""Statuses of a test that stops the layers after it."""
SUCCEEDED = frozenset({"success", "pass", "warn", "no-op"})
"""Statuses of a node in a successful invocation. A skipped node stands behind a failed one."""
NOT_PASSED = FAILED | {"warn"}
"""Statuses of a test that a person should look at."""


class RunResultsError(ValueError):
    """A file of dbt is broken; the text names the file and the fault."""


@dataclass(frozen=True, slots=True)
class TestResult:
    """One data test. `failures` counts rows. `stored_in` is the table that keeps them, empty without such a table.
    `sql` is the statement that ran, empty if dbt ran no statement. `owner` is the name of the model's group's owner.
    """

    __test__ = False  # no test of pytest's

    node_id: str
    name: str
    layer: str
    model: str
    severity: str
    status: str
    failures: int
    seconds: float
    message: str
    stored_in: str = ""
    sql: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of dbt; `finished_at` is UTC.

    `scanned` has for each model the bytes that its statement and its tests' statements read. dbt-athena reports them,
    DuckDB does not. Statements that a macro sends with `run_query` are not included. `succeeded`: no node failed.
    """

    invocation_id: str
    finished_at: datetime
    tests: tuple[TestResult, ...]
    scanned: Mapping[str, int] = field(default_factory=dict)
    succeeded: bool = True

    def summary(self, samples: Mapping[str, str]) -> DbtTests:
        """Counts and failing tests; a skipped test is in no count. `samples` has texts of failing rows, by table."""
        counts = Counter(test.status for test in self.tests)
        failing = (
            FailingTest(
                name=test.name,
                severity="error" if test.status in FAILED else "warn",
                failures=test.failures,
                message=test.message,
                rows=samples.get(test.stored_in, ""),
            )
            for test in self.tests
            if test.status in NOT_PASSED
        )
        return DbtTests(counts["pass"], counts["warn"], sum(counts[status] for status in FAILED), tuple(failing))


def read(project_dir: Path) -> Invocation:
    """The last dbt invocation in `project_dir`.

    Raises:
        FileNotFoundError: dbt wrote no files, because it failed before it ran a node.
        RunResultsError: the files do not have dbt's content.
    """
    target = project_dir / "target"
    texts = [(target / name).read_text() for name in ("run_results.json", "manifest.json")]
    try:
        return from_artifacts(*(json.loads(text) for text in texts))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunResultsError(f"{target} does not have dbt's results ({type(error).__name__}: {error})") from error


def from_artifacts(run_results: Mapping[str, Any], manifest: Mapping[str, Any]) -> Invocation:
    """The invocation that wrote these two files."""
    tests = [result for result in run_results["results"] if str(result["unique_id"]).startswith("test.")]
    metadata = run_results["metadata"]
    return Invocation(
        invocation_id=metadata["invocation_id"],
        finished_at=from_text(metadata["generated_at"]),
        tests=tuple(_test(result, manifest) for result in tests),
        scanned=_scanned(run_results["results"], manifest),
        succeeded=all(result["status"] in SUCCEEDED for result in run_results["results"]),
    )


def _scanned(results: Iterable[Mapping[str, Any]], manifest: Mapping[str, Any]) -> dict[str, int]:
    """Bytes read, by model. A test counts for the model it is attached to, else for the names of all it reads."""
    scanned: Counter[str] = Counter()
    for result in results:
        read = (result.get("adapter_response") or {}).get("data_scanned_in_bytes")
        if read is not None:
            node = manifest["nodes"].get(str(result["unique_id"]), {})
            is_test = node.get("resource_type") == "test"
            scanned[_names(_models(node, manifest)) if is_test else str(node.get("name", ""))] += int(read)
    return dict(scanned)


def _test(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> TestResult:
    node_id = str(result["unique_id"])
    node = manifest["nodes"].get(node_id, {})
    models, status = _models(node, manifest), str(result["status"])
    stored = node.get("config", {}).get("store_failures") and status in {"fail", "warn"}
    return TestResult(
        node_id=node_id,
        name=node_id.split(".")[2],
        layer=_layer(models),
        model=_names(models),
        severity=str(node.get("config", {}).get("severity", "error")).lower(),
        status=status,
        failures=int(result.get("failures") or 0),
        seconds=float(result.get("execution_time") or 0),
        message=result.get("message") or "",
        stored_in=str(node.get("relation_name") or "") if stored else "",
        sql=str(result.get("compiled_code") or "").strip(),
        owner=_owner(models, manifest),
    )


def _models(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The model the test is attached to, else all that it reads (also sources and seeds)."""
    attached = node.get("attached_node")
    ids = [attached] if attached else node.get("depends_on", {}).get("nodes", [])
    models = (manifest["nodes"].get(node_id) or manifest.get("sources", {}).get(node_id) for node_id in ids)
    return [model for model in models if model]


def _owner(models: Iterable[Mapping[str, Any]], manifest: Mapping[str, Any]) -> str:
    """The owners of the models' groups, as the manifest names them; empty without a group."""
    groups = {str(group["name"]): group for group in manifest.get("groups", {}).values()}
    found = (groups.get(str(model.get("group") or model.get("config", {}).get("group") or "")) for model in models)
    return ", ".join(dict.fromkeys(str(group["owner"]["name"]) for group in found if group))


def _names(models: Iterable[Mapping[str, Any]]) -> str:
    return ",".join(str(model["name"]) for model in models)


def _layer(models: list[Mapping[str, Any]]) -> str:
    """The layer whose folder has the models; `cross_layer` for several layers, empty without a layer (a seed)."""
    layers = {layer for model in models for layer in LAYERS if layer in Path(str(model.get("path", ""))).parts}
    return layers.pop() if len(layers) == 1 else CROSS_LAYER if layers else ""
