"""Started by hand: look at dead letters, and put chosen ones back on the topic."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.sdk import DAG, Param, get_current_context, task

# As a Git bundle only this folder is on the path.
ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from include.landing.dead_letter import MESSAGE_CLASSES  # noqa: E402
from include.on_airflow.callbacks import on_task_failure  # noqa: E402

DOC = """
### What it does
Lists dead letters (messages that broke the format) with place, class, reason and payload in the log of its task.
With `dry_run` off it puts them back on their topic, each once, however often it is run. Gaps hold no message and are
never replayed.

### Owner
`data-platform`; failures are mailed to `ALERT_EMAILS`.

### Triage
- The task is red: nothing is lost. Letters that were sent before the error are marked and not sent again; run it again.
- "is being replayed by ...": another replay claims the letter, or died at it. Run it again after the time it names.
- Letters come back as dead letters: they are still invalid. Look at their class in `docs/runbooks/dead_letters.md`.
"""

with DAG(
    dag_id="dead_letter_replay",
    description="Look at dead letters and put chosen ones back on the topic",
    doc_md=DOC,
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    tags=["lakehouse", "operations"],
    default_args={
        "owner": "data-platform",
        "retries": 0,
        "execution_timeout": timedelta(hours=1),
        "on_failure_callback": on_task_failure,
    },
    params={
        "dry_run": Param(True, type="boolean", description="List them only."),
        "since": Param(None, type=["null", "string"], format="date", description="First day of the Kafka time (UTC)."),
        "until": Param(None, type=["null", "string"], format="date", description="Last day."),
        "error_class": Param(
            None,
            type=["null", "string"],
            enum=[None, "", *MESSAGE_CLASSES],
            description="Only this class.",
        ),
        "partition": Param(None, type=["null", "integer"], minimum=0, description="Only this partition."),
        "offset": Param(None, type=["null", "integer"], minimum=0, description="Only this offset."),
        "limit": Param(0, type="integer", minimum=0, description="At most so many; 0: all."),
    },
) as dag:

    @task
    def replay() -> dict[str, int]:
        """List the chosen letters and, unless it is a dry run, send them."""
        from include.on_airflow import dead_letter_replay

        outcome = dead_letter_replay.run(get_current_context()["params"])
        return {"chosen": outcome.chosen, "sent": outcome.sent}

    replay()
