"""The DAGs that the monitor watches, with the facts that their files and the monitor share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pendulum

from include.settings import WarehouseSettings, load_group
from include.transform.start_rule import StartRule

MODULE = "crypto_landed"
"""The module of `plugins/` from which the triggerer imports the trigger."""
START = pendulum.datetime(2026, 1, 1, tz="UTC")
"""Start date of every DAG: no earlier run is due."""


@dataclass(frozen=True, slots=True)
class WatchedDag:
    """One DAG, and the time limit of one run.

    `schedule` is its cron expression in UTC. `starts` is the rule of a DAG that starts when something has landed.
    A DAG without both is started by hand only.
    """

    dag_id: str
    first_task: str
    limit: timedelta
    schedule: str | None = None
    starts: StartRule | None = None


def transform() -> WatchedDag:
    """`crypto_transform`, which starts as the settings say."""
    warehouse = load_group(WarehouseSettings)
    dag = WatchedDag("crypto_transform", "new_data", timedelta(hours=2))
    if _starts_by_event(warehouse):
        floor = timedelta(seconds=warehouse.transform_floor_seconds)
        return replace(dag, starts=StartRule(floor, warehouse.transform_runs_per_day))
    return replace(dag, schedule=warehouse.transform_schedule)


def _starts_by_event(warehouse: WarehouseSettings) -> bool:
    """Without the trigger's module nothing would start: a Git bundle brings no plugins."""
    if warehouse.transform_start == "auto":
        return "transform_schedule" not in warehouse.model_fields_set and _has_trigger()
    return warehouse.transform_start == "event"


def _has_trigger() -> bool:
    spec = find_spec(MODULE)
    return spec is not None and spec.origin is not None and (Path(spec.origin).parents[1] / "include").is_dir()


MAINTENANCE = WatchedDag("lakehouse_maintenance", "test_all_rows", timedelta(hours=6), "40 3 * * *")
REPLAY = WatchedDag("dead_letter_replay", "replay", timedelta(hours=2))
SILENCE = WatchedDag("alert_silence", "silence", timedelta(hours=1))


def watched() -> tuple[WatchedDag, ...]:
    """Every DAG but the monitor's own, which the CloudWatch alarm `monitor_silent` watches."""
    return transform(), MAINTENANCE, REPLAY, SILENCE
