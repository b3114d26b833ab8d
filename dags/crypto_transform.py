"""Bronze, silver and gold, layer by layer: one Airflow task a dbt model, its tests inside."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, get_current_context, task
from cosmos import DbtTaskGroup
from cosmos.operators.local import DbtTestLocalOperator

# In a Git bundle only dags/ is on the path.
ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from include.settings import DBT_PROJECT, WarehouseSettings, load_group  # noqa: E402
from include.transform import cosmos_settings, layers  # noqa: E402
from include.watch.callbacks import on_task_failure  # noqa: E402
from include.watch.catalogue import LAYERS, Layer  # noqa: E402

DOC = """
### Crypto transform

Builds bronze `crypto_raw`, silver `crypto_stage` and gold `crypto_curated` from the files that the consumer has
landed in S3, with dbt through Cosmos. Each model is a task that runs the model and its tests; a failed test stops the
layers behind it. A run that finds no new file skips everything.

**Owner**: data platform. **Reads** `s3://BUCKET/crypto_data/`. **Writes** the warehouse and `state/layers/`.

### Triage

* A model's task is red: open its log; the failing tests and their rows are named at its end, and in the mail. The rows
  are kept in the schema `test_failures`. Clear the task when the cause is gone: reruns load nothing twice.
* `cross_layer_tests` is red: layers disagree (rows lost or doubled on the way). Runbook: `docs/runbooks/`.
* `new_data` skips run after run: nothing lands; look at `pipeline_monitor`.
* Everything waits: the pool `duckdb` (local target only) has one slot; is another run holding it?
"""


@task.short_circuit(retries=2, retry_delay=timedelta(seconds=30), execution_timeout=timedelta(minutes=5))
def new_data() -> bool:
    """Skip the run when nothing has landed since the last successful bronze."""
    from include.settings import StorageSettings
    from include.transform import gate
    from include.watch.connections import s3_client

    found, seen = gate.look(s3_client(), load_group(StorageSettings))
    get_current_context()["ti"].xcom_push(key="seen", value={str(partition): key for partition, key in seen.items()})
    return found


@task(execution_timeout=timedelta(minutes=5), trigger_rule="none_skipped")
def record_layer(layer: Layer) -> dict[str, Any]:
    """Leave the layer's rows, newest quote and test results in S3, also when a test has failed."""
    from airflow.sdk.exceptions import AirflowSkipException

    from include.settings import AlertSettings, StorageSettings
    from include.transform import gate, test_results
    from include.watch.connections import s3_client
    from include.watch.layer_state import Run

    context = get_current_context()
    ti, run = context["ti"], context["dag_run"]
    dbt_tasks = [task_id for task_id in context["dag"].task_ids if task_id.startswith(f"{layer}.")]
    pushed = ti.xcom_pull(task_ids=dbt_tasks, key=test_results.XCOM_KEY)
    s3, storage = s3_client(), load_group(StorageSettings)
    if not any(results is not None for results in pushed):
        raise AirflowSkipException(f"{layer} was not built: an earlier layer failed")
    url = f"{load_group(AlertSettings).airflow_url}/dags/{run.dag_id}/runs/{run.run_id}"
    tests = [test for results in pushed if results for test in results]
    state = layers.record(s3, storage, layer, tests, Run(run.dag_id, run.run_id, url))
    if sum(results is not None for results in pushed) < len(dbt_tasks) or state.tests.failed:
        raise AirflowSkipException(f"{layer} is not complete: its state is recorded, its asset is not updated")
    if layer == "bronze":
        gate.write_seen(s3, storage, {int(k): v for k, v in ti.xcom_pull(task_ids="new_data", key="seen").items()})
    return state.to_json()


with DAG(
    dag_id="crypto_transform",
    description="bronze, silver and gold with dbt, layer by layer",
    doc_md=DOC,
    schedule=load_group(WarehouseSettings).transform_schedule,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 (Airflow reads it as UTC)
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    tags=["lakehouse", "transform"],
    default_args={
        "owner": "data-platform",
        "retries": 1,
        "retry_delay": timedelta(minutes=1),
        "weight_rule": "upstream",  # or a task would also weigh what comes behind it
        "on_failure_callback": on_task_failure,
    },
) as dag:

    def dbt_group(group_id: str, *select: str) -> DbtTaskGroup:
        """The dbt nodes of `select` as a task group."""
        return DbtTaskGroup(
            group_id=group_id,
            project_config=cosmos_settings.project_config(),
            profile_config=cosmos_settings.profile_config(),
            execution_config=cosmos_settings.execution_config(),
            render_config=cosmos_settings.render_config(list(select)),
            operator_args=cosmos_settings.dbt_task_arguments(),
        )

    reference = dbt_group("reference", "path:seeds", "path:snapshots")
    groups = {layer: dbt_group(layer, f"path:models/{layer}") for layer in LAYERS}
    cross_layer_tests = DbtTestLocalOperator(
        task_id="cross_layer_tests",
        project_dir=str(DBT_PROJECT),
        profile_config=cosmos_settings.profile_config(),
        invocation_mode=cosmos_settings.execution_config().invocation_mode,
        select="tag:cross_layer",
        **cosmos_settings.dbt_task_arguments(),
    )

    new_data() >> reference >> groups["bronze"] >> groups["silver"] >> groups["gold"] >> cross_layer_tests
    for layer, group in groups.items():
        recorded = record_layer.override(
            task_id=f"record_{layer}",
            priority_weight=1_000,  # before the next layer's models, which wait for the same pool on the local target
            outlets=[Asset(name=f"{layer}_{layers.MODELS[layer]}", uri=layers.asset_uri(layer))],
            **cosmos_settings.warehouse_pool(),
        )(layer)
        group >> recorded
