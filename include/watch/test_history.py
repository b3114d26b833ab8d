"""What every dbt test said, kept for ever: pass rate, failing since, flakiness.

After each dbt invocation `target/run_results.json` becomes one file of JSON lines,

    test_history/2026/11/23/<invocation_id>.json

one line a test. A key an invocation means that no two writers meet, which they would in a
table (a dbt on-run-end hook that writes to Iceberg collides when every model is its own
task). An external table and dbt views read the files.

`keep` is a Cosmos callback. A history that cannot be written is logged and fails no data.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from include.settings import StorageSettings, load
from include.watch.catalogue import LAYERS
from include.watch.instants import from_text

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

CROSS_LAYER = "cross_layer"
"""Layer of a test that looks at models of several layers."""


@dataclass(frozen=True, slots=True)
class TestRun:
    """One test in one dbt invocation: a line of the file. `executed_at` is ISO 8601, UTC, to the second."""

    invocation_id: str
    run_id: str
    dag_id: str
    executed_at: str
    layer: str
    node_id: str
    name: str
    model: str
    severity: str
    status: str
    failures: int
    execution_seconds: float
    message: str


def rows(run_results: Mapping[str, Any], manifest: Mapping[str, Any], dag_id: str, run_id: str) -> list[TestRun]:
    """The tests of one dbt invocation. `manifest` is dbt's of the same invocation."""
    metadata = run_results["metadata"]
    executed = from_text(metadata["generated_at"]).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = []
    for result in run_results["results"]:
        node_id = str(result["unique_id"])
        if not node_id.startswith("test."):
            continue
        node = manifest["nodes"].get(node_id, {})
        models = _models(node, manifest)
        found.append(
            TestRun(
                invocation_id=metadata["invocation_id"],
                run_id=run_id,
                dag_id=dag_id,
                executed_at=executed,
                layer=_layer(models),
                node_id=node_id,
                name=node_id.split(".")[2],
                model=",".join(str(model["name"]) for model in models),
                severity=str(node.get("config", {}).get("severity", "error")).lower(),
                status=result["status"],
                failures=int(result.get("failures") or 0),
                execution_seconds=round(float(result.get("execution_time") or 0), 3),
                message=result.get("message") or "",
            )
        )
    return found


def _models(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The model the test is attached to, else all that it reads (also sources and seeds)."""
    attached = node.get("attached_node")
    wanted = [attached] if attached else node.get("depends_on", {}).get("nodes", [])
    known = (manifest["nodes"].get(one) or manifest.get("sources", {}).get(one) for one in wanted)
    return [one for one in known if one]


def _layer(models: list[Mapping[str, Any]]) -> str:
    """The layer whose folder holds the models; `cross_layer` for several, empty for none (a seed, say)."""
    layers = {layer for model in models for layer in LAYERS if layer in Path(str(model.get("path", ""))).parts}
    return layers.pop() if len(layers) == 1 else CROSS_LAYER if layers else ""


def key(storage: StorageSettings, invocation_id: str, executed_at: datetime) -> str:
    """Key of the file of one invocation."""
    return f"{storage.test_history_prefix}{executed_at.astimezone(UTC):%Y/%m/%d}/{invocation_id}.json"


def write(s3: S3Client, storage: StorageSettings, tests: list[TestRun]) -> str | None:
    """Write the tests of one invocation as JSON lines; returns the key, None when there was no test.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    if not tests:
        return None
    where = key(storage, tests[0].invocation_id, from_text(tests[0].executed_at))
    body = "".join(json.dumps(asdict(test), separators=(",", ":")) + "\n" for test in tests)
    s3.put_object(Bucket=storage.bucket, Key=where, Body=body.encode(), ContentType="application/x-ndjson")
    return where


def keep(project_dir: str, context: Mapping[str, Any]) -> None:
    """Cosmos callback: write the invocation's tests to S3. Logs what goes wrong and lets the task go on."""
    from include.watch.connections import s3_client

    target, ti = Path(project_dir) / "target", context["ti"]
    try:
        run_results = json.loads((target / "run_results.json").read_text())
        manifest = json.loads((target / "manifest.json").read_text())
        tests = rows(run_results, manifest, ti.dag_id, ti.run_id)
        where = write(s3_client(), load().storage, tests)
    except FileNotFoundError as error:
        log.warning("no test history: dbt left no %s (it failed before it ran anything)", error.filename)
    except (ClientError, BotoCoreError, OSError, ValueError, KeyError, TypeError) as error:
        log.exception("the test history of this invocation is not kept; the data is not affected: %s", error)
    else:
        log.info("test history: %d tests in %s", len(tests), where or "no file, as there was no test")
