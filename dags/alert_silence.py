"""Triggered by hand: acknowledges an alert or silences a condition, for a time."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Param, get_current_context, task

# In a Git bundle only dags/ is on the path.
ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from include.catalogue import CONDITIONS  # noqa: E402
from include.on_airflow.callbacks import on_task_failure  # noqa: E402
from include.on_airflow.refusal import refuse_unknown_names  # noqa: E402
from include.on_airflow.silencing import MOST_HOURS  # noqa: E402
from include.on_airflow.watched_dags import SILENCE, START  # noqa: E402

DOC = """
### What it does
This DAG stops the mails about one condition, or about one alert, for some hours. The alert board and Pipeline Health
still show it. A silence ends by itself: an alert that is still open then is mailed. The end of an alert that was mailed
before the silence is mailed as usual. CloudWatch's own alarms are not affected.

### Parameters (Trigger, with configuration)
- `alert`: a condition (`kafka_lag`), or the key of one alert (`dbt_tests:not_null_price`), as the task `notify` of
  `pipeline_monitor` logs it.
- `hours`: how long. 0 ends a silence.
- `reason`: the next mail and Pipeline Health show it, with your name.

### Owner
`data-platform`; failures are mailed to `ALERT_EMAILS`.

### Triage
- The task is red: no silence was set. Run it again. The log has the reason, for example that S3 does not answer.
"""

with DAG(
    dag_id=SILENCE.dag_id,
    description="Acknowledge an alert or silence a condition, for a time",
    doc_md=DOC,
    schedule=SILENCE.schedule,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=SILENCE.limit,
    tags=["lakehouse", "operations"],
    default_args={
        "owner": "data-platform",
        "retries": 1,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(minutes=5),
        "on_failure_callback": on_task_failure,
        "pre_execute": refuse_unknown_names,
    },
    params={
        "alert": Param(
            "kafka_lag", type="string", examples=list(CONDITIONS), description="A condition, or the key of one alert."
        ),
        "hours": Param(2, type="number", minimum=0, maximum=MOST_HOURS, description="How long; 0 ends the silence."),
        "reason": Param("", type="string", maxLength=200, description="Why; the next mail shows it."),
    },
) as dag:

    @task
    def silence() -> str:
        """Set the silence that the parameters ask for."""
        from datetime import UTC, datetime

        from include.on_airflow import silencing
        from include.on_airflow.refusal import refusing

        context, now = get_current_context(), datetime.now(UTC)
        with refusing(context):
            name, asked = silencing.of_params(context["params"], context["dag_run"].triggering_user_name or "", now)
        silencing.carry_out(name, asked, now)
        return f"{name} {asked}"

    silence()
