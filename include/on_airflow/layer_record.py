"""Records a layer when its last dbt task ends: state, asset, and the gate's offer after bronze.

This is no task of its own, because a task costs a second. The recording task is the layer's last one, or the task that
failed for good, because the tasks after it do not run. A task that is killed records nothing: the earlier state stays.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from include.catalogue import LAYERS, Layer
from include.on_airflow import run_parameters
from include.on_airflow.callbacks import TEST_RESULTS
from include.reasons import reason_of
from include.settings import AlertSettings, StorageSettings, load_group
from include.state.dbt_tests import DbtTests
from include.state.layer_state import DagRunRef, LayerState
from include.transform import companions, gate, layers
from include.transform.inline_query import InlineQueryError

if TYPE_CHECKING:
    from airflow.sdk import Asset
    from cosmos import DbtTaskGroup
    from mypy_boto3_s3 import S3Client

SCANNED = "bytes_scanned"
"""XCom key of `Invocation.scanned`; not pushed where the adapter does not report scanned bytes."""

log = logging.getLogger(__name__)


def layer_of(task_id: str) -> Layer | None:
    """The layer of a dbt task; None for a task outside the layers."""
    return next((layer for layer in LAYERS if task_id.startswith(f"{layer}.")), None)


def table_of(task_id: str) -> str:
    """The table of a dbt task: crypto_raw of bronze.crypto_raw_model_build."""
    return task_id.rpartition(".")[2].removesuffix("_model_build")


def asset(layer: Layer) -> Asset:
    """The asset that a complete build of the layer updates."""
    from airflow.sdk import Asset

    return Asset(name=f"{layer}_{layers.MODELS[layer]}", uri=layers.asset_uri(layer))


def give_asset(group: DbtTaskGroup, layer: Layer) -> None:
    """Make the layer's asset an outlet of its last task, and the asset of the layer before an inlet.

    So Airflow's graph of the assets shows bronze, silver and gold in their order.
    """
    before = LAYERS[: LAYERS.index(layer)][-1:]
    for last in group.get_leaves():
        last.outlets.append(asset(layer))
        last.inlets.extend(asset(earlier) for earlier in before)


def apply_parameters(context: Mapping[str, Any], operator: Any) -> None:
    """Cosmos interceptor: put the run's parameters into the dbt command; a skipped last task records its layer.

    Raises:
        AirflowSkipException: nothing of the task is selected.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    try:
        run_parameters.apply(context, operator)
    except AirflowSkipException:
        layer = layer_of(context["ti"].task_id)
        if layer and _is_last(context["ti"], layer):
            _record(context, layer)
        raise


def after(context: Mapping[str, Any], *, succeeded: bool) -> None:
    """Record the layer if the task is the one to do so. Without a complete build the layer's asset is not updated.

    Raises:
        InlineQueryError, ClientError, BotoCoreError: dbt succeeded, and the layer cannot be recorded.
    """
    ti = context["ti"]
    layer = layer_of(ti.task_id)
    is_last = layer is not None and _is_last(ti, layer)
    to_be_retried = not succeeded and ti.try_number <= ti.max_tries
    if layer is None or to_be_retried or (succeeded and not is_last):
        return
    try:
        state = _record(context, layer)
    except (InlineQueryError, ClientError, BotoCoreError) as error:
        if succeeded:
            raise
        log.error("the state of %s is not recorded: %s", layer, reason_of(error))  # dbt's own failure ends the task
        return
    if state is None:
        ti.task.outlets = []
    elif succeeded:
        context["outlet_events"][asset(layer)].extra = _extra(state)


def _extra(state: LayerState) -> dict[str, Any]:
    """What the asset's event carries: rows, newest quote, tests, and the build's latency in seconds by stage."""
    tests, latency = state.tests, state.latency or {}
    return {
        "rows": state.rows,
        "newest_quote_at": state.newest_quote_at.isoformat() if state.newest_quote_at else None,
        "tests": {"passed": tests.passed, "warned": tests.warned, "failed": tests.failed},
        "latency_p95_seconds": {stage: recent.last.p95 for stage, recent in latency.items() if recent.last},
    }


def _is_last(ti: Any, layer: Layer) -> bool:
    return not any(later.startswith(f"{layer}.") for later in ti.task.downstream_task_ids)


def _record(context: Mapping[str, Any], layer: Layer) -> LayerState | None:
    """Write what the run built of the layer; its new state if all of it was built and its tests passed."""
    ti, run, parameters = context["ti"], context["dag_run"], run_parameters.of_run(context)
    tasks = [task_id for task_id in context["dag"].task_ids if layer_of(task_id) == layer]
    pushed = ti.xcom_pull(task_ids=tasks, key=TEST_RESULTS)
    have_run = {task_id: results is not None for task_id, results in zip(tasks, pushed, strict=True)}
    if not any(have_run.values()):
        return None
    s3, storage = _s3(), load_group(StorageSettings)
    built = _built(have_run, _chosen(context) if parameters.select else None)
    built_by = DagRunRef.of(run.dag_id, run.run_id, load_group(AlertSettings).airflow_url)
    if not all(built.values()):
        layers.record_part(s3, storage, layer, built, built_by)
        if parameters.select:
            log.warning("only a part of %s was built: its recorded state stays", layer)
            return None
    tests = [msgspec.convert(results, DbtTests) for results in pushed if results is not None]
    scanned = filter(None, ti.xcom_pull(task_ids=tasks, key=SCANNED))
    state = layers.record(s3, storage, layer, tests, scanned, built_by)
    if not all(built.values()) or state.tests.failed:
        log.warning("%s is not complete: its state is recorded, its asset is not updated", layer)
        return None
    if layer == "bronze" and not parameters.select:  # with a selection the next run must build the later layers
        _store_offer(ti, s3, storage)
    return state


def _built(have_run: Mapping[str, bool], chosen: set[str] | None) -> dict[str, bool]:
    """For each model of the layer, whether the run built it; `chosen` are the selected nodes, None for all."""
    nodes = {
        node: task_id for task_id in have_run for table in [table_of(task_id)] for node in companions.models(table)
    }
    return {node: have_run[task_id] and (chosen is None or node in chosen) for node, task_id in nodes.items()}


def _chosen(context: Mapping[str, Any]) -> set[str]:
    """Names of the selected nodes."""
    return {unique_id.split(".")[2] for unique_id in run_parameters.chosen_of(context)}


def _store_offer(ti: Any, s3: S3Client, storage: StorageSettings) -> None:
    """Store what the gate saw, because bronze has loaded it."""
    seen = ti.xcom_pull(task_ids=run_parameters.GATE, key="seen")
    gate.write_seen(s3, storage, {int(partition): key for partition, key in seen.items()})
    offered = ti.xcom_pull(task_ids=run_parameters.GATE, key="offered")
    gate.write_offered(s3, storage, msgspec.convert(offered, gate.Offered))


def _s3() -> S3Client:
    from include.on_airflow.connections import s3_client

    return s3_client()
