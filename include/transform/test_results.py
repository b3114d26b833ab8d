"""What dbt's tests said in one Airflow run, passed from the dbt tasks to the task that closes the layer.

Cosmos calls `keep` after each dbt invocation, also a failed one, with the folder that
holds `target/run_results.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from include.watch.layer_state import FailingTest, LayerTests

XCOM_KEY = "test_results"


def from_run_results(run_results: dict[str, Any]) -> list[dict[str, Any]]:
    """The data tests of one dbt invocation, as plain values fit for an XCom.

    Each has `name`, `status` (dbt's: pass, warn, fail, error, skipped), `failures` (rows) and `message`.
    """
    tests = []
    for result in run_results["results"]:
        node_id = str(result["unique_id"])
        if node_id.startswith("test."):
            tests.append(
                {
                    "name": node_id.split(".")[2],
                    "status": result["status"],
                    "failures": int(result.get("failures") or 0),
                    "message": result.get("message") or "",
                }
            )
    return tests


def keep(project_dir: str, context: dict[str, Any]) -> None:
    """Cosmos callback: push the invocation's test results as an XCom of the dbt task."""
    path = Path(project_dir) / "target" / "run_results.json"
    if path.exists():  # dbt that fails before it runs anything leaves none
        context["ti"].xcom_push(key=XCOM_KEY, value=from_run_results(json.loads(path.read_text())))


def summarise(tests: Iterable[dict[str, Any]]) -> LayerTests:
    """Counts and failing tests of a layer; skipped tests count as neither."""
    passed = warned = failed = 0
    failing = []
    for test in tests:
        status = test["status"]
        if status == "pass":
            passed += 1
        elif status == "warn":
            warned += 1
            failing.append(FailingTest(test["name"], "warn", test["failures"], test["message"]))
        elif status in {"fail", "error"}:
            failed += 1
            failing.append(FailingTest(test["name"], "error", test["failures"], test["message"]))
    return LayerTests(passed, warned, failed, tuple(failing))
