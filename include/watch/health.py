"""The state of the pipeline for a reader, from the small objects that the DAGs leave in S3.

Nothing is measured here and the warehouse is not asked: what is shown is what the last run of
each DAG has found, with the time at which it did. What cannot be read is a fault with its
reason, never a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from include.settings import Settings
from include.watch import alert_rules, lag_window, layer_state, task_tests
from include.watch.alert_state import S3AlertStore
from include.watch.alerts import AlertState, OpenAlert
from include.watch.catalogue import CONDITIONS, LAYERS, MONITOR_SECONDS, Condition, Layer
from include.watch.instants import span
from include.watch.lag import Sample
from include.watch.layer_state import LayerState
from include.watch.notices import without_secrets
from include.watch.state_objects import StateUnreadableError
from include.watch.task_tests import TaskTests
from include.watch.thresholds import Threshold, in_force

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SILENT_AFTER = timedelta(seconds=3 * MONITOR_SECONDS)
"""As the alarm `monitor_silent`."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class LayerHealth:
    """One layer. `state` is None when it was never built; `age` is now minus the newest quote, None without one."""

    layer: Layer
    state: LayerState | None
    age: timedelta | None
    limit: timedelta

    @property
    def stale(self) -> bool:
        """Whether its data is older than its threshold."""
        return self.age is not None and self.age > self.limit


@dataclass(frozen=True, slots=True)
class LagHealth:
    """The monitor's last look at Kafka; lag in messages by partition. `behind`: age of the oldest unread then."""

    looked_at: datetime
    partitions: Mapping[int, Sample]
    behind: timedelta | None

    @property
    def total(self) -> int:
        """Messages that were not landed."""
        return sum(sample.lag for sample in self.partitions.values())


@dataclass(frozen=True, slots=True)
class Health:
    """All of it. `None` or absent: could not be read, `faults` says why by what it was; or there is nothing yet."""

    environment: str
    at: datetime
    layers: tuple[LayerHealth, ...] = ()
    other_tests: tuple[TaskTests, ...] = ()
    lag: LagHealth | None = None
    alerts: tuple[OpenAlert, ...] | None = None
    undelivered: int = 0
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def silent(self) -> str:
        """How long the monitor has not read Kafka, when that is too long; else empty. It may run and be blind."""
        if self.lag is None:
            return ""
        quiet = self.at - self.lag.looked_at
        return span(quiet) if quiet > SILENT_AFTER else ""

    @property
    def conditions(self) -> list[tuple[Condition, str, str, bool]]:
        """Each condition with its threshold as a person reads it, its source, and whether it is open now."""
        is_open = {alert.condition for alert in self.alerts or ()}
        rows = []
        for one in CONDITIONS.values():
            limit = self.thresholds.get(one.name)
            text = f"{one.comparison} {alert_rules.quantity(one, limit.value)}" if limit else ""
            rows.append((one, text, limit.source if limit else "", one.name in is_open))
        return rows


def collect(s3: S3Client, settings: Settings, variable: str | None, now: datetime) -> Health:
    """Read what the DAGs left. `variable` is the content of the Variable `monitor_thresholds`."""
    faults: dict[str, str] = {}
    thresholds, threshold_faults = in_force(variable)
    if threshold_faults:
        faults["thresholds"] = "; ".join(threshold_faults)

    def tried(what: str, read: Callable[[], Found]) -> Found | None:
        try:
            return read()
        except (ClientError, BotoCoreError, StateUnreadableError) as error:
            faults[what] = without_secrets(f"{type(error).__name__}: {error}")
            return None

    storage = settings.storage
    states = tried("layers", lambda: layer_state.read_all(s3, storage))
    others = tried("tests outside the layers", lambda: task_tests.read_all(s3, storage))
    window = tried("lag", lambda: lag_window.read(s3, storage))
    stored = tried("alerts", lambda: S3AlertStore(s3, storage).load()[0])
    return Health(
        environment=settings.monitor.environment,
        at=now,
        layers=tuple(_layer(layer, states[layer], thresholds, now) for layer in LAYERS) if states else (),
        other_tests=tuple(others or ()),
        lag=_lag(window) if window else None,
        alerts=_by_age(stored) if stored is not None else None,
        undelivered=len(alert_rules.undelivered(stored, now)) if stored else 0,
        thresholds=thresholds,
        faults=faults,
    )


def _layer(layer: Layer, state: LayerState | None, thresholds: Mapping[str, Threshold], now: datetime) -> LayerHealth:
    newest = state.newest_quote_at if state else None
    limit = timedelta(seconds=thresholds[f"stale_{layer}"].value)
    return LayerHealth(layer, state, None if newest is None else now - newest, limit)


def _lag(window: lag_window.LagWindow) -> LagHealth | None:
    newest = {partition: samples[-1] for partition, samples in sorted(window.samples.items()) if samples}
    if not newest:
        return None
    looked_at = max(sample.at for sample in newest.values())
    behind = next((at - oldest for at, oldest in reversed(window.unread) if at == looked_at), None)
    return LagHealth(looked_at, newest, behind)


def _by_age(state: AlertState) -> tuple[OpenAlert, ...]:
    """Open alerts, the oldest first."""
    return tuple(sorted(state.open.values(), key=lambda alert: alert.since))
