"""The state of the pipeline for a reader, from the small objects that the DAGs leave in S3.

Nothing is measured here and the warehouse is not asked: what is shown is what the last run of
each DAG has found, with the time at which it did. What cannot be read is a fault with its
reason, never a zero.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeVar

from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.exceptions import HTTPClientError

from include.catalogue import CONDITIONS, LAYERS, MONITOR_SECONDS, Condition, Layer
from include.monitoring.alerts import transitions
from include.monitoring.alerts.mail import without_secrets
from include.monitoring.alerts.model import AlertState, OpenAlert
from include.monitoring.alerts.store import S3AlertStore
from include.monitoring.checks import lag_window
from include.monitoring.checks import verdicts as tick
from include.monitoring.checks.judge import quantity
from include.monitoring.checks.lag import Sample
from include.monitoring.checks.thresholds import Threshold, in_force
from include.settings import Settings
from include.state import layer_state, task_tests
from include.state.layer_state import LayerState
from include.state.task_tests import TaskTests

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

SILENT_AFTER = timedelta(seconds=CONDITIONS["monitor_silent"].periods * MONITOR_SECONDS)
"""As the alarm `monitor_silent`."""
READS = ("layers", "tests outside the layers", "lag", "alerts")

Found = TypeVar("Found")
State = Literal["open", "ok", "unknown"]


@dataclass(frozen=True, slots=True)
class LayerHealth:
    """One layer. `state` is None when there is none; `age` is now minus the newest quote, None without one.

    `limit` is in seconds: a threshold may be longer than a timedelta can be.
    """

    layer: Layer
    state: LayerState | None
    age: timedelta | None
    limit: float

    @property
    def stale(self) -> bool:
        """Whether its data is older than its threshold."""
        return self.age is not None and self.age.total_seconds() > self.limit


@dataclass(frozen=True, slots=True)
class LagHealth:
    """The monitor's last look at Kafka; lag in messages by partition.

    `behind`: age of the oldest unread record then, None when it was not known (or there was none).
    """

    looked_at: datetime
    partitions: Mapping[int, Sample]
    behind: timedelta | None

    @property
    def total(self) -> int:
        """Messages that were not landed."""
        return sum(sample.lag for sample in self.partitions.values())


@dataclass(frozen=True, slots=True)
class ConditionHealth:
    """One condition: its threshold as a person reads it, where that comes from, and what is known about it."""

    condition: Condition
    limit: str
    source: str
    state: State


@dataclass(frozen=True, slots=True)
class Health:
    """All of it. `None` or absent: could not be read, `faults` says why by what it was; or there is nothing yet.

    `where` is the address of the state objects. `alerts_kept`: there is an alert state; without
    one nothing was ever open, or it is not there any more.
    """

    environment: str
    at: datetime
    where: str = ""
    layers: tuple[LayerHealth, ...] = ()
    other_tests: tuple[TaskTests, ...] = ()
    lag: LagHealth | None = None
    alerts: tuple[OpenAlert, ...] | None = None
    alerts_kept: bool = False
    undelivered: int = 0
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> Mapping[str, str]:
        """By reason what cannot be read for it."""
        found: dict[str, list[str]] = {}
        for what, why in self.faults.items():
            found.setdefault(why, []).append(what)
        return {why: ", ".join(what) for why, what in found.items()}

    @property
    def looked(self) -> timedelta | None:
        """How long ago the monitor last read Kafka; None when that is not known."""
        return None if self.lag is None else self.at - self.lag.looked_at

    @property
    def watched(self) -> bool:
        """Whether the monitor is known to have looked lately: only then does no open alert mean that all is well."""
        return self.looked is not None and self.looked <= SILENT_AFTER

    @property
    def no_lag(self) -> bool:
        """Whether S3 answers, and holds no look at Kafka."""
        return self.lag is None and "lag" not in self.faults

    @property
    def never_looked(self) -> bool:
        """Whether S3 answers, and holds nothing at all of the monitor."""
        return self.no_lag and self.alerts is not None and not self.alerts_kept

    @property
    def conditions(self) -> list[ConditionHealth]:
        """Each condition, in the catalogue's order."""
        is_open, unseen = self._open(), self._unseen()
        rows = []
        for one in CONDITIONS.values():
            limit = self.thresholds.get(one.name)
            text = f"{one.comparison} {quantity(one, limit.value)}" if limit else ""
            state: State = "open" if one.name in is_open else "unknown" if one.name in unseen else "ok"
            rows.append(ConditionHealth(one, text, limit.source if limit else "", state))
        return rows

    def _open(self) -> set[str]:
        """Conditions that are open. The notices are counted here: no alert is raised about them."""
        found = {alert.condition for alert in self.alerts or ()}
        limit = self.thresholds.get("notices_undelivered")
        if limit and CONDITIONS["notices_undelivered"].breached_by(self.undelivered, limit.value):
            found.add("notices_undelivered")
        return found

    def _unseen(self) -> set[str]:
        """Conditions about which nothing is known if they are not open."""
        if self.alerts is None or not self.watched:
            return set(CONDITIONS)
        blind = {alert.key.partition(":")[2] for alert in self.alerts if alert.condition == "monitor_blind"}
        if blind - set(tick.SOURCE_NAMES.values()):  # not one source: the monitor judged or kept nothing
            return set(CONDITIONS)
        return {name for name, source in tick.SOURCE_OF.items() if tick.SOURCE_NAMES[source] in blind}


@dataclass(slots=True)
class _Reader:
    """Reads what can be read; a fault takes nothing else off the page.

    When S3 cannot be reached or does not answer in time it is not asked again: each read would wait as long.
    """

    connect: Callable[[], S3Client]
    faults: dict[str, str] = field(default_factory=dict)
    client: S3Client | None = None
    given_up: str = ""

    def tried(self, what: str, read: Callable[[], Found]) -> Found | None:
        """What `read` returns; None and a fault when it fails, however it does: a connection can hold anything."""
        try:
            return read()
        except Exception as error:
            log.warning("cannot read %s", what, exc_info=True)
            self.faults[what] = _reason(error)
            if isinstance(error, NoConnectionError | HTTPClientError):
                self.given_up = self.faults[what]
            return None

    def from_s3(self, what: str, read: Callable[[S3Client], Found]) -> Found | None:
        """As `tried`, with the one client."""
        if self.given_up:
            self.faults[what] = self.given_up
            return None
        if self.client is None:
            self.client = self.tried(what, self.connect)
        if self.client is None:
            self.given_up = self.faults[what]
            return None
        client = self.client
        return self.tried(what, lambda: read(client))


def collect(
    connect: Callable[[], S3Client], settings: Settings, variable: Callable[[], str | None], now: datetime
) -> Health:
    """Read what the DAGs left. `variable` gets the content of the Variable `monitor_thresholds`."""
    reader = _Reader(connect)
    thresholds, threshold_faults = reader.tried("thresholds", lambda: in_force(variable())) or in_force(None)
    if threshold_faults:
        reader.faults["thresholds"] = "; ".join(threshold_faults)
    storage = settings.storage
    layers, tests, lag, alerts = READS
    states = reader.from_s3(layers, lambda s3: layer_state.read_all(s3, storage))
    others = reader.from_s3(tests, lambda s3: task_tests.read_all(s3, storage))
    window = reader.from_s3(lag, lambda s3: lag_window.read(s3, storage))
    stored, version = reader.from_s3(alerts, lambda s3: S3AlertStore(s3, storage).load()) or (None, None)
    return Health(
        environment=settings.monitor.environment,
        at=now,
        where=f"s3://{storage.bucket}/{storage.state_prefix}",
        layers=tuple(_layer(layer, states[layer], thresholds, now) for layer in LAYERS) if states else (),
        other_tests=tuple(others or ()),
        lag=_lag(window) if window else None,
        alerts=_by_age(stored) if stored is not None else None,
        alerts_kept=version is not None,
        undelivered=len(transitions.undelivered(stored, now)) if stored else 0,
        thresholds=thresholds,
        faults=reader.faults,
    )


def nothing(error: Exception, now: datetime) -> Health:
    """When it is not even known where to read."""
    return Health("environment unknown", now, faults=dict.fromkeys(READS, _reason(error)))


def _reason(error: Exception) -> str:
    return without_secrets(f"{type(error).__name__}: {error}")


def _layer(layer: Layer, state: LayerState | None, thresholds: Mapping[str, Threshold], now: datetime) -> LayerHealth:
    newest = state.newest_quote_at if state else None
    return LayerHealth(layer, state, None if newest is None else now - newest, thresholds[f"stale_{layer}"].value)


def _lag(window: lag_window.LagWindow) -> LagHealth | None:
    newest = {partition: samples[-1] for partition, samples in sorted(window.samples.items()) if samples}
    if not newest:
        return None
    looked_at = max(sample.at for sample in newest.values())
    behind = next((at - oldest for at, oldest in reversed(window.unread) if at == looked_at), None)
    return LagHealth(looked_at, newest, behind or None)  # the window keeps an age that is not known as zero


def _by_age(state: AlertState) -> tuple[OpenAlert, ...]:
    """Open alerts, the oldest first."""
    return tuple(sorted(state.open.values(), key=lambda alert: alert.since))
