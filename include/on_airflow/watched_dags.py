"""The DAGs that the monitor watches, with the facts that their files and the monitor share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pendulum

from include.settings import WarehouseSettings, load_group

START = pendulum.datetime(2026, 1, 1, tz="UTC")
"""Start date of every DAG: no earlier run is due."""


@dataclass(frozen=True, slots=True)
class WatchedDag:
    """One DAG: its cron expression in UTC (None: started by hand only), and the time limit of one run."""

    dag_id: str
    first_task: str
    limit: timedelta
    schedule: str | None = None


def transform() -> WatchedDag:
    """`crypto_transform`, whose schedule is a setting."""
    schedule = load_group(WarehouseSettings).transform_schedule
    return WatchedDag("crypto_transform", "new_data", timedelta(hours=2), schedule)


MAINTENANCE = WatchedDag("lakehouse_maintenance", "test_all_rows", timedelta(hours=6), "40 3 * * *")
REPLAY = WatchedDag("dead_letter_replay", "replay", timedelta(hours=2))
SILENCE = WatchedDag("alert_silence", "silence", timedelta(hours=1))


def watched() -> tuple[WatchedDag, ...]:
    """Every DAG but the monitor's own, which the CloudWatch alarm `monitor_silent` watches."""
    return transform(), MAINTENANCE, REPLAY, SILENCE
