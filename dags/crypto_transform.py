"""Bronze, silver and gold, layer by layer: one Airflow task for each table and its tests."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from airflow.sdk import (  # type: ignore[attr-defined]  # the stub of 3.3.2 lacks Deadline* and SyncCallback
    DAG,
    DeadlineAlert,
    DeadlineReference,
    Param,
    SyncCallback,
    TriggerRule,
    chain,
    get_current_context,
    get_parsing_context,
    task,
)
from cosmos import DbtTaskGroup
from cosmos.operators.local import DbtTestLocalOperator

# In a Git bundle only dags/ is on the path.
ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from include.catalogue import LAYERS, Layer  # noqa: E402
from include.on_airflow import (  # noqa: E402
    companion_build,
    cosmos_settings,
    landed_offer,
    layer_record,
    run_parameters,
)
from include.on_airflow.callbacks import on_task_failure  # noqa: E402
from include.on_airflow.landed_trigger import schedule  # noqa: E402
from include.on_airflow.refusal import refuse_unknown_names  # noqa: E402
from include.on_airflow.watched_dags import START, transform  # noqa: E402
from include.settings import DBT_PROJECT, WarehouseSettings, load_group  # noqa: E402

DOC = """
### What it does
This DAG builds bronze `crypto_raw`, silver `crypto_stage` and gold `crypto_curated` from the files that the consumer
has landed in S3. It uses dbt through Cosmos. Each table is a task that builds the table and runs its tests. A failed
test stops the later tasks. A run without a new file skips all later tasks. By default a run starts when a file has
landed that bronze was not offered (`WAREHOUSE_TRANSFORM_START`).

Seed, snapshot and views have no task: `crypto_stage` builds `assets`, `assets_history` and `crypto_checked`, and
`crypto_curated` builds the views `kpi_...`. A scheduled run builds them only after a change of their code.

### Parameters (Trigger, with configuration)
A run with a parameter goes on even without new files. Airflow checks the form of each value when the run is triggered.
The task `new_data` refuses an unknown name or an impossible value with the reason, and nobody gets a mail about it.

- `full_refresh`: build every table again from all landed files. Snapshots keep their history. On Athena it is refused
  above 9 GB of landed files (`docs/data-quality.md`, "Loading bronze again").
- `select`: run only these nodes, in dbt's selection language: `crypto_stage+`, `tag:gold`, `crypto_raw crypto_stage`.
  The tests of a selected model run with it. A test across layers runs when everything that it reads is selected or
  upstream of the selection. The state of a layer is recorded only when the whole layer is selected; Pipeline Health
  names a later build of a part.
- `target_date`: a UTC day to do again. The run loads the files of that day and later that bronze lacks, computes gold's
  hours of that day again, and tests all rows since then. Silver keeps its decisions on known rows; a full refresh
  decides again.

### Owner
`data-platform`; failures are mailed to `ALERT_EMAILS`. The DAG reads `s3://BUCKET/crypto_data/` and writes the
warehouse, `state/layers/` and `state/tests/`.

### Triage
- The task of a table is red: the end of its log and the mail name the failed tests and their rows. The schema
  `test_failures` keeps these rows. When the cause is removed, clear the task: a second run loads nothing twice.
- `cross_layer_tests` is red: layers disagree (a row was lost or duplicated on the way). Runbook: `docs/runbooks/`.
- `new_data` skips in every run, or no run starts: no file lands; see `pipeline_monitor`. `dag_unhealthy`
  reports that files have landed and no run starts: look at the triggerer's log.
- "A run takes too long" is mailed: the run has not ended `WAREHOUSE_TRANSFORM_DEADLINE_MINUTES` after it was queued.
  Airflow ends it after two hours. Runbook: `docs/runbooks/run_late.md`.
- Every task waits: the pool `duckdb` (local target only) has one slot, and another run may occupy it.
"""


@task.short_circuit(retries=2, retry_delay=timedelta(seconds=30), execution_timeout=timedelta(minutes=5))
def new_data() -> bool:
    """Skip the run when nothing has landed since bronze last succeeded, unless the run has a parameter."""
    import msgspec
    from msgspec.structs import replace

    from include.on_airflow.connections import s3_client
    from include.on_airflow.refusal import refusing
    from include.settings import StorageSettings
    from include.state.json_object import StateUnreadableError
    from include.transform import gate, starts
    from include.transform.start_rule import Start

    context, now = get_current_context(), datetime.now(UTC)
    with refusing(context):
        parameters = run_parameters.of_run(context)
        if parameters.select:
            context["ti"].xcom_push(key=run_parameters.CHOSEN, value=run_parameters.chosen_nodes(parameters.select))
    s3, storage = s3_client(), load_group(StorageSettings)
    begin = partial(starts.write_start, s3, storage, context["run_id"], Start(now, offers=not parameters.select))
    try:
        look = gate.look(s3, storage, now)
    except StateUnreadableError:
        begin()  # so that the trigger waits before it starts the next run
        raise
    goes_on = look.is_new or parameters.by_hand
    if goes_on:
        begin()
    context["ti"].xcom_push(key="seen", value={str(partition): key for partition, key in look.seen.items()})
    context["ti"].xcom_push(key="offered", value=msgspec.to_builtins(replace(look.offered, started_at=now)))
    context["ti"].xcom_push(key=landed_offer.HOURS, value=gate.ranges(look.hours))
    return goes_on


def run_is_late(context: dict[str, Any]) -> None:
    """Deadline callback: report that the run has not ended. Airflow imports it from this file."""
    from include.on_airflow.callbacks import on_deadline_missed

    on_deadline_missed(context, ended_by=run_parameters.GATE)


WAREHOUSE, TRANSFORM = load_group(WarehouseSettings), transform()

with DAG(
    dag_id=TRANSFORM.dag_id,
    description="bronze, silver and gold with dbt, layer by layer",
    doc_md=DOC,
    schedule=schedule(TRANSFORM),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=TRANSFORM.limit,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=WAREHOUSE.transform_deadline_minutes),
        callback=SyncCallback(run_is_late),  # on the executor, so no triggerer is needed
    ),
    tags=["lakehouse", "transform"],
    params={
        "full_refresh": Param(False, type="boolean", description="Build every table again from all landed files."),
        "select": Param(
            None,
            type=["null", "string"],
            pattern=run_parameters.SELECTION,
            description="Only these dbt nodes, for example crypto_stage+ or tag:gold; empty: all.",
        ),
        "target_date": Param(
            None, type=["null", "string"], format="date", description="UTC day to load, compute and test again."
        ),
    },
    default_args={
        "owner": "data-platform",
        "retries": 1,
        "retry_delay": timedelta(minutes=1),
        "weight_rule": "upstream",  # by default the weight of a task includes all later tasks
        "on_failure_callback": on_task_failure,
        "pre_execute": refuse_unknown_names,
    },
) as dag:
    arguments = cosmos_settings.dbt_task_arguments()
    arguments["interceptors"] = [*arguments["interceptors"], layer_record.apply_parameters]

    parsed_for = get_parsing_context().task_id

    def needed(group_id: str) -> bool:
        """Whether to build a group. A task's own process, which parses this file again, builds only the task's group.

        All groups are built to parse the DAG itself, and for `new_data`, which skips the tasks after it.
        """
        if parsed_for is None or parsed_for == run_parameters.GATE:
            return True
        return parsed_for.startswith(f"{group_id}.")

    def dbt_group(layer: Layer) -> DbtTaskGroup:
        """A task for each table of the layer; the last one updates the layer's asset."""
        interceptors = [*arguments["interceptors"], companion_build.apply] + [landed_offer.apply] * (layer == "bronze")
        group = DbtTaskGroup(
            group_id=layer,
            project_config=cosmos_settings.project_config(),
            profile_config=cosmos_settings.profile_config(),
            execution_config=cosmos_settings.execution_config(),
            render_config=cosmos_settings.render_config([f"path:models/{layer},config.materialized:incremental"]),
            # `none_failed`: with a selection, tasks of other nodes are skipped, and the tasks after them still run.
            operator_args={**arguments, "interceptors": interceptors, "trigger_rule": TriggerRule.NONE_FAILED},
        )
        companion_build.select(group)
        layer_record.give_asset(group, layer)
        return group

    groups = [dbt_group(layer) for layer in LAYERS if needed(layer)]
    cross_layer_tests = DbtTestLocalOperator(
        task_id="cross_layer_tests",
        project_dir=str(DBT_PROJECT),
        profile_config=cosmos_settings.profile_config(),
        invocation_mode=cosmos_settings.execution_config().invocation_mode,
        select=run_parameters.CROSS_LAYER,
        trigger_rule=TriggerRule.NONE_FAILED,
        **arguments,
    )

    chain(new_data(), *groups, cross_layer_tests)
