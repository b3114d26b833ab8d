"""Triggered by hand: lists dead letters and sends selected ones back to the topic."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Param, get_current_context, task

# In a Git bundle only dags/ is on the path.
ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from include.landing.dead_letter import MESSAGE_CLASSES  # noqa: E402
from include.on_airflow.callbacks import on_task_failure  # noqa: E402
from include.on_airflow.refusal import refuse_unknown_names  # noqa: E402
from include.on_airflow.watched_dags import REPLAY, START  # noqa: E402

DOC = """
### What it does
This DAG lists dead letters (messages that violate the format) with place, class, reason and payload in the log of its
task. With `dry_run` off it sends them back to their topic. A later run does not send a dead letter again. A gap has no
message and is never replayed.

### Parameters (Trigger, with configuration)
Airflow checks the form of each value when the run is triggered. The task refuses an unknown name, a `since` after
`until` and a `since` in the future with the reason, and nobody gets a mail about it.

### Owner
`data-platform`; failures are mailed to `ALERT_EMAILS`.

### Triage
- The task is red: nothing is lost. Run it again: dead letters that were sent before the error are marked and are not
  sent again.
- "is being replayed by ...": another replay has claimed the dead letter, or died after that. Run it again after the
  time in the message.
- Messages come back as dead letters: they are still invalid. See their class in `docs/runbooks/dead_letters.md`.
"""

with DAG(
    dag_id=REPLAY.dag_id,
    description="List dead letters and send selected ones back to the topic",
    doc_md=DOC,
    schedule=REPLAY.schedule,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=REPLAY.limit,
    tags=["lakehouse", "operations"],
    default_args={
        "owner": "data-platform",
        "retries": 0,
        "execution_timeout": timedelta(hours=1),
        "on_failure_callback": on_task_failure,
        "pre_execute": refuse_unknown_names,
    },
    params={
        "dry_run": Param(True, type="boolean", description="Only list dead letters."),
        "since": Param(None, type=["null", "string"], format="date", description="First UTC day of the Kafka time."),
        "until": Param(None, type=["null", "string"], format="date", description="Last UTC day."),
        "error_class": Param(
            None,
            type=["null", "string"],
            enum=[None, "", *MESSAGE_CLASSES],
            description="Only this class.",
        ),
        "partition": Param(None, type=["null", "integer"], minimum=0, description="Only this partition."),
        "offset": Param(None, type=["null", "integer"], minimum=0, description="Only this offset."),
        "limit": Param(0, type="integer", minimum=0, description="Maximum number of dead letters; 0: all."),
    },
) as dag:

    @task
    def replay() -> dict[str, int]:
        """List the selected dead letters and, without `dry_run`, send them."""
        from datetime import UTC, datetime

        from include.on_airflow import dead_letter_replay
        from include.on_airflow.refusal import refusing

        context = get_current_context()
        with refusing(context):
            selection = dead_letter_replay.filter_of(context["params"], datetime.now(UTC).date())
        return dead_letter_replay.run(selection, context["params"])

    replay()
