"""Starts `crypto_transform` because bronze was not offered something that has landed.

The trigger runs in Airflow's triggerer as the watcher of the asset `landed`. It is level-triggered: each look compares
what is in S3 with what bronze was last offered, and an event only says that there is something. So a triggerer that was
away forgets nothing and repeats nothing, and after a failed run the same is offered again.

A look blocks, so it has its own thread. An error of S3 or Airflow never ends the trigger: Airflow would start it again
each second. The trigger logs the reason once, waits longer after each failure, and says when the looks work again. The
monitor looks at S3 itself, and `dag_unhealthy` reports files that nobody reads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from include.instants import to_text
from include.on_airflow.watched_dags import MODULE, WatchedDag
from include.reasons import reason_of
from include.settings import StorageSettings, WarehouseSettings, load_group
from include.state.json_object import StateUnreadableError
from include.transform import gate, starts
from include.transform.start_rule import StartRule, Starts

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ASSET = "landed"
CLASS = f"{MODULE}.LandedTrigger"
"""Where the triggerer imports the trigger: `plugins/` is on the path of each Airflow process."""
SWEEP = timedelta(minutes=15)
"""Time between two full looks: so long may a file of an older hour, or a dead letter, wait when nothing else lands."""
UNANSWERED = timedelta(minutes=2)
"""An event that has started no run is repeated after this time. Airflow drops the events of a paused DAG."""
LONGEST_PAUSE = timedelta(minutes=5)
"""Maximum of the pause between two looks that fail."""

log = logging.getLogger(__name__)


@dataclass
class Watch:
    """What one trigger does at each look. It remembers only what saves work: the last full look and the last event."""

    dag_id: str
    rule: StartRule
    storage: StorageSettings
    connect: Callable[[], S3Client]
    is_active: Callable[[str], bool]
    """Whether the DAG has a run that has not ended."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    swept_at: datetime | None = None
    fired_at: datetime | None = None
    s3: S3Client | None = field(default=None, repr=False)

    def look(self) -> bool:
        """Whether a run is to be started now.

        Raises:
            ClientError, BotoCoreError: S3 refused or could not be reached.
            AirflowRuntimeError: Airflow did not answer.
        """
        now = self.clock()
        self.s3 = self.s3 or self.connect()
        known = starts.read_starts(self.s3, self.storage)
        if self.fired_at and now - self.fired_at < UNANSWERED and not _newer(known, self.fired_at):
            return False
        if not self._has_cause(self.s3, known, now) or self.is_active(self.dag_id):
            return False
        self.fired_at = now
        return True

    def _has_cause(self, s3: S3Client, known: Starts, now: datetime) -> bool:
        try:
            cause = starts.has_cause(s3, self.storage, self.rule, known, now)
        except StateUnreadableError as error:  # the run's first task fails with the remedy, which is mailed
            log.warning(reason_of(error))
            return self.rule.not_before(known, None, now) <= now
        if cause is not None or (self.swept_at and now - self.swept_at < SWEEP):
            return bool(cause)
        is_new = gate.look(s3, self.storage, now).is_new
        self.swept_at = None if is_new else now
        return is_new


def _newer(known: Starts, moment: datetime) -> bool:
    return any(start.at > moment for start in known.values())


class LandedTrigger(BaseEventTrigger):
    """Yields an event when a run is to be started. Durations in seconds."""

    def __init__(self, dag_id: str, floor: float, runs_a_day: int, poll: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dag_id, self.floor, self.runs_a_day, self.poll = dag_id, floor, runs_a_day, poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and the arguments with which the triggerer makes this trigger."""
        return CLASS, {
            "dag_id": self.dag_id, "floor": self.floor, "runs_a_day": self.runs_a_day, "poll": self.poll,
        }  # fmt: skip

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the triggerer ends."""
        watch, failures = None, 0
        while True:
            try:
                watch = watch or self._watch()
                due = await asyncio.to_thread(watch.look)
            except Exception as error:  # noqa: BLE001 an error that ends the trigger makes Airflow start it each second
                if watch is not None:
                    watch.s3 = None  # a new client reads the connection and its credentials again
                if not failures:
                    log.error("nothing is started, because the look for new files fails: %s", reason_of(error))
                failures += 1
                await asyncio.sleep(_pause(self.poll, failures))
                continue
            if failures:
                log.info("the look for new files works again after %d failures", failures)
                failures = 0
            if due:
                yield TriggerEvent({"unread_at": to_text(watch.clock())})  # type: ignore[no-untyped-call]
            await asyncio.sleep(self.poll)

    def _watch(self) -> Watch:
        """The watch with Airflow's clients and the environment's storage."""
        from include.on_airflow.connections import s3_client

        rule = StartRule(timedelta(seconds=self.floor), self.runs_a_day)
        return Watch(self.dag_id, rule, load_group(StorageSettings), s3_client, _has_active_run)


def schedule(dag: WatchedDag) -> str | list[Asset] | None:
    """What starts the DAG: its cron expression, or the asset `landed` with the trigger as its watcher."""
    if dag.starts is None:
        return dag.schedule
    storage, warehouse = load_group(StorageSettings), load_group(WarehouseSettings)
    floor = dag.starts.floor.total_seconds()
    trigger = LandedTrigger(dag.dag_id, floor, dag.starts.runs_a_day, warehouse.transform_poll_seconds)
    uri = f"s3://{storage.bucket}/{storage.data_prefix}"
    return [Asset(name=ASSET, uri=uri, watchers=[AssetWatcher(name="unread", trigger=trigger)])]


def _pause(poll: float, failures: int) -> float:
    """Seconds until the next look after so many failed looks."""
    return max(poll, min(poll * 2.0 ** min(failures, 20), LONGEST_PAUSE.total_seconds()))


def _has_active_run(dag_id: str) -> bool:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    return bool(RuntimeTaskInstance.get_dr_count(dag_id, states=["queued", "running"]))
