"""Once a day: every data test over every row, the test history, compaction, dbt's docs, the audit, and the report."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, TriggerRule, task
from cosmos.operators.local import (
    DbtBuildLocalOperator,
    DbtDocsLocalOperator,
    DbtRunOperationLocalOperator,
    DbtTestLocalOperator,
)

# In a Git bundle only dags/ is on the path.
ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from include.on_airflow import cosmos_settings  # noqa: E402
from include.on_airflow.callbacks import on_task_failure  # noqa: E402
from include.on_airflow.refusal import refuse_unknown_names  # noqa: E402
from include.on_airflow.watched_dags import MAINTENANCE, START  # noqa: E402
from include.settings import DBT_PROJECT  # noqa: E402

DOC = """
### What it does
Once a day this DAG does six things, the last five even if a test has failed:
1. It runs every data test over every row. The runs of `crypto_transform` check a window of a few days, so that their
   cost stays constant.
2. It loads the results of all runs from `test_history/` into `test_run` and `test_health` (pass rate, failing since,
   flaky).
3. It compacts the tables: `OPTIMIZE` and `VACUUM` of each Iceberg table on Athena. The local target needs no
   compaction.
4. It renews the data dictionary (dbt's docs) at `s3://BUCKET/state/dbt_docs/index.html` and, on the laptop, in Airflow
   under Browse.
5. It audits the bucket: what landed on the days that have ended is read once and entered in a manifest, and what was
   audited before is compared with its manifest (`docs/audit.md`). It runs beside the others.
6. It writes Pipeline Health as one HTML file, `s3://BUCKET/state/report/2026-11-30.html`, after the others.

### Owner
`data-platform`; failures are mailed to `ALERT_EMAILS`.

### Triage
- `test_all_rows` is red: `docs/runbooks/dbt_tests.md`. A test that fails here but not in `crypto_transform` fails on
  older rows.
- `build_test_history` is red: no data is affected; the files stay in `test_history/` and the next run loads them.
- `compact_tables` is red: the log names the table. Nothing is lost; queries read more files until it succeeds. Clear
  the task while `crypto_transform` does not run: a commit conflict only needs a second attempt.
- `audit` is red: Kafka, S3 or the warehouse could not be read, see its log. Its findings are the alert
  `audit_failed`.
- `publish_docs` is red: no data is affected; the docs stay as they were.
- `write_report` is red: no data is affected; clear the task when S3 answers again.
"""

with DAG(
    dag_id=MAINTENANCE.dag_id,
    description="Every data test over every row, the test history, compaction, dbt's docs, the audit, and the report",
    doc_md=DOC,
    schedule=MAINTENANCE.schedule,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=MAINTENANCE.limit,
    tags=["lakehouse", "maintenance"],
    default_args={
        "owner": "data-platform",
        "retries": 1,
        "retry_delay": timedelta(minutes=5),
        "on_failure_callback": on_task_failure,
        "pre_execute": refuse_unknown_names,
    },
) as dag:
    dbt = {
        "project_dir": str(DBT_PROJECT),
        "profile_config": cosmos_settings.profile_config(),
        "invocation_mode": cosmos_settings.execution_config().invocation_mode,
        **cosmos_settings.dbt_task_arguments(),
        "execution_timeout": timedelta(hours=2),
    }
    test_all_rows = DbtTestLocalOperator(
        task_id="test_all_rows",
        exclude="test_type:unit tag:monitoring",  # the tests of the history run with its models
        vars={"test_window_days": None},
        **dbt,
    )
    build_test_history = DbtBuildLocalOperator(
        task_id="build_test_history",
        select="tag:monitoring",
        exclude="resource_type:unit_test",
        trigger_rule=TriggerRule.ALL_DONE,
        **dbt,
    )
    compact_tables = DbtRunOperationLocalOperator(
        task_id="compact_tables", macro_name="maintain", trigger_rule=TriggerRule.ALL_DONE, **dbt
    )
    publish_docs = DbtDocsLocalOperator(
        task_id="publish_docs",
        dbt_cmd_flags=["--static"],
        trigger_rule=TriggerRule.ALL_DONE,
        **{**dbt, "callback": "include.on_airflow.dbt_docs.publish"},
    )

    @task(execution_timeout=timedelta(hours=4), **cosmos_settings.warehouse_pool())
    def audit() -> int:
        """Compare bucket and layers with the manifests, and make those of the days that have ended."""
        from include.on_airflow import audit as daily_audit

        return daily_audit.run(datetime.now(UTC))

    @task(execution_timeout=timedelta(minutes=10), trigger_rule=TriggerRule.ALL_DONE)
    def write_report() -> str:
        """Write Pipeline Health as one file to S3."""
        from include.on_airflow import health_page

        return health_page.write_report(datetime.now(UTC))

    test_all_rows >> build_test_history >> compact_tables >> publish_docs
    [publish_docs, audit()] >> write_report()
