"""Full refresh of bronze in the DAG: its progress in S3, and the time of the whole run for it."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from include.on_airflow import run_parameters
from include.on_airflow.refusal import refuse_unknown_names
from include.reasons import reason_of
from include.settings import AlertSettings, StorageSettings, load_group
from include.state import rebuild
from include.state.layer_state import DagRunRef
from include.state.rebuild import Rebuild

if TYPE_CHECKING:
    from airflow.sdk import Context

LINE = re.compile(r"(\w+): rebuild, (\d+) of (\d+) queries done, files until (\S+ \S+)")
"""What the macro `rebuild_progress` logs before each query and after the last."""

log = logging.getLogger(__name__)


def allow_whole_run(context: Context) -> None:
    """Hook before bronze's tasks (`pre_execute`): a full refresh may take as long as its run.

    A year of files takes longer than the limit of an ordinary task (docs/data-quality.md, "Loading bronze again").

    Raises:
        AirflowFailException: the run has a parameter that the DAG does not declare.
    """
    refuse_unknown_names(context)
    if run_parameters.of_run(context).full_refresh:
        context["task"].execution_timeout = context["dag"].dagrun_timeout


def keep(event: Any) -> None:
    """Callback for each event of dbt (an `EventMsg`): write the progress that a rebuild logs.

    An error of S3 is only logged.
    """
    from airflow.sdk import get_current_context

    from include.on_airflow.connections import s3_client

    line = LINE.fullmatch(event.info.msg)
    if line is None:
        return
    table, done, of, until = line.groups()
    run = get_current_context()["dag_run"]
    progress = Rebuild(
        table,
        at=datetime.now(UTC),
        done=int(done),
        of=int(of),
        files_until=datetime.fromisoformat(until).replace(tzinfo=UTC),
        run=DagRunRef.of(run.dag_id, run.run_id, load_group(AlertSettings).airflow_url),
    )
    try:
        rebuild.write(s3_client(), load_group(StorageSettings), progress)
    except (ClientError, BotoCoreError) as error:
        log.warning("the rebuild goes on, but its progress is not shown: %s", reason_of(error))
