"""Measures each source, publishes, checks each condition and sends mail. The grid of this DAG is the alert board."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pendulum
from airflow.sdk import DAG, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

# In a Git bundle only dags/ is on the path.
ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from include.catalogue import CONDITIONS, MONITOR_MINUTES  # noqa: E402
from include.monitoring.checks.judge import Verdict  # noqa: E402
from include.monitoring.checks.measurements import SOURCES, Measurements, Source  # noqa: E402
from include.monitoring.checks.thresholds import VARIABLE  # noqa: E402
from include.on_airflow.callbacks import deliver_notices  # noqa: E402
from include.reasons import reason_of  # noqa: E402

DOC = f"""
### What it does
Every {MONITOR_MINUTES} minutes this DAG measures Kafka (lag of the consumer group), S3 (objects of the last hour, dead
letters, the layers' states) and the consumer's metrics in CloudWatch. Then it publishes its own numbers to
CloudWatch and checks each condition in a task of its own.
**Red `check_` task: that condition is breached. Pink (skipped): nothing is known about it.**
The last task, `notify`, keeps the alert state in S3 and turns red only in the run in which an alert *starts*. Its
callback sends one mail about all alerts that start, are over, or need a reminder (`ALERT_REMINDER_HOURS`).

### Owner
`data-platform`; mails go to `ALERT_EMAILS` by the connection `smtp_default`.

### Triage
- A `check_` task is red: open its log, the last line has value and threshold; then `docs/runbooks/<condition>.md`.
- A `measure_` task is red: its source cannot be read (`docs/runbooks/monitor_blind.md`). Nothing is counted as zero.
- `publish` is red: CloudWatch does not take the numbers; the checks still work.
- `notify` is red and no mail came: its log has the mail server's answer (`docs/runbooks/notices_undelivered.md`).
- Thresholds: JSON in the Airflow Variable `monitor_thresholds`, like `{{"kafka_lag": 5000}}`; each run reads it.
- To silence a condition, change its threshold there. To silence all, pause this DAG (CloudWatch's alarms stay).
"""

MEASURE_RETRY = timedelta(seconds=10)


def verdicts_of(ti: Any) -> list[Verdict]:
    """The verdicts of this run; empty when `publish` died before it judged."""
    return msgspec.convert(ti.xcom_pull(task_ids="publish", key="verdicts") or [], list[Verdict])


with DAG(
    dag_id="pipeline_monitor",
    description="Lag, arrivals, freshness and consumer metrics; one task for each alert condition",
    doc_md=DOC,
    schedule=f"*/{MONITOR_MINUTES} * * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=2 * MONITOR_MINUTES),
    tags=["lakehouse", "monitoring"],
    default_args={"owner": "data-platform", "retries": 0, "execution_timeout": timedelta(minutes=2)},
) as dag:

    @task(retries=1, retry_delay=MEASURE_RETRY)
    def measure(source: Source) -> dict[str, Any]:
        """Measure one source. Failed: the source could not be read."""
        from include.on_airflow import monitor

        try:
            return dict(msgspec.to_builtins(monitor.measure_source(source), str_keys=True))
        except Exception as error:
            get_current_context()["ti"].xcom_push(key="fault", value=reason_of(error))
            raise

    @task(retries=1, retry_delay=MEASURE_RETRY, trigger_rule=TriggerRule.ALL_DONE)
    def publish() -> None:
        """Publish the known numbers to CloudWatch and judge every condition. Failed: CloudWatch did not take them."""
        from airflow.sdk import Variable

        from include.on_airflow import monitor

        ti = get_current_context()["ti"]
        pulled = {source: ti.xcom_pull(task_ids=f"measure_{source}") for source in SOURCES}
        faults = {str(source): ti.xcom_pull(task_ids=f"measure_{source}", key="fault") for source in SOURCES}
        measured = msgspec.convert(pulled, Measurements, str_keys=True)
        verdicts, refusal = monitor.publish_and_judge(measured, faults, Variable.get(VARIABLE, default=None))
        ti.xcom_push(key="verdicts", value=msgspec.to_builtins(verdicts))
        if refusal:
            raise RuntimeError(f"CloudWatch did not take the numbers: {refusal}")

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def check(condition: str) -> str:
        """Red: the condition is breached. Skipped: nothing is known about it."""
        verdicts = {verdict.condition: verdict for verdict in verdicts_of(get_current_context()["ti"])}
        if condition not in verdicts:
            raise AirflowFailException(f"{condition} was not judged: see the log of publish")
        verdict = verdicts[condition]
        if verdict.outcome == "breached":
            raise AirflowFailException(verdict.sentence)
        if verdict.outcome == "unknown":
            raise AirflowSkipException(verdict.sentence)
        return verdict.sentence

    @task(
        trigger_rule=TriggerRule.ALL_DONE,
        on_success_callback=deliver_notices,
        on_failure_callback=deliver_notices,
    )
    def notify() -> list[str]:
        """Bring the alert state up to date. Failed: an alert has started, and the callback mails it."""
        from include.on_airflow import monitor

        context = get_current_context()
        new = monitor.update_alerts(verdicts_of(context["ti"]), context["run_id"])
        started = [notice.alert.title for notice in new if notice.kind == "start"]
        if started:
            raise AirflowFailException(f"started: {'; '.join(started)}")
        return [f"{notice.kind} {notice.alert.key}" for notice in new]

    published = publish()
    notified = notify()
    for source in SOURCES:
        measure.override(task_id=f"measure_{source}")(source) >> published
    for condition in CONDITIONS.values():
        if condition.checked:
            published >> check.override(task_id=condition.task_id)(condition.name) >> notified
