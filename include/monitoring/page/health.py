"""The state of the pipeline for the page Pipeline Health, from the small objects that the DAGs write to S3.

This module measures nothing and does not query the warehouse: it shows the results of the last run
of each DAG, with their times. An object that cannot be read is a fault with its reason, never a zero.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeVar

from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.exceptions import HTTPClientError

from include.catalogue import CONDITIONS, LAYERS, MONITOR_SILENT_AFTER, Condition, Layer
from include.instants import ago
from include.monitoring.alerts import transitions
from include.monitoring.alerts.model import AlertState, OpenAlert
from include.monitoring.alerts.store import S3AlertStore
from include.monitoring.checks import lag_window
from include.monitoring.checks.judge import quantity
from include.monitoring.checks.lag import Sample
from include.monitoring.checks.thresholds import Threshold, in_force
from include.monitoring.checks.verdicts import SOURCE_NAMES, SOURCE_OF
from include.reasons import reason_of
from include.settings import ObjectiveSettings, Settings
from include.state import judged, layer_state, partial_build, rebuild, task_tests
from include.state.judged import JudgedConditions
from include.state.layer_state import LayerState
from include.state.partial_build import PartialBuild
from include.state.rebuild import Rebuild
from include.state.task_tests import TaskTests

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

PARTS = ("layers", "tests outside the layers", "lag", "alerts", "conditions")
"""Parts of the page that come from S3."""

Content = TypeVar("Content")
State = Literal["open", "ok", "unknown"]


@dataclass(frozen=True, slots=True)
class LayerHealth:
    """One layer. `state` is None before the first build; `age` is now minus the newest quote, None without a quote.

    `limit` is in seconds: a threshold may be longer than a timedelta can be. `partial` is the last build of only a part
    of the layer, None unless it is as new as the state or newer. `rebuild` is a full refresh that has not ended.
    `fault` says why the state cannot be read.
    """

    layer: Layer
    state: LayerState | None
    age: timedelta | None
    limit: float
    partial: PartialBuild | None = None
    rebuild: Rebuild | None = None
    fault: str = ""

    @property
    def stale(self) -> bool:
        """Whether its data is older than its threshold."""
        return self.age is not None and self.age.total_seconds() > self.limit

    @property
    def incomplete(self) -> bool:
        """Whether the recorded state itself is that of a build of only a part."""
        return self.state is not None and self.partial is not None and self.state.run == self.partial.run


@dataclass(frozen=True, slots=True)
class LagHealth:
    """The monitor's last measurement of Kafka, at `measured_at`; lag in messages by partition.

    `oldest_age` is the age of the oldest unread record then, None when it was not known (or there was none).
    """

    measured_at: datetime
    partitions: Mapping[int, Sample]
    oldest_age: timedelta | None
    spans: Mapping[int, tuple[Sample, Sample]] = field(default_factory=dict)
    """The first and the last sample of each partition's window, for the rates."""

    @property
    def total(self) -> int:
        """Messages that were not landed."""
        return sum(sample.lag for sample in self.partitions.values())


@dataclass(frozen=True, slots=True)
class ConditionHealth:
    """One condition: its threshold in words, the threshold's source, whether it is open, and its last value in words.

    `value` of an unknown condition is the reason why nothing is known.
    """

    condition: Condition
    limit: str
    source: str
    state: State
    value: str


@dataclass(frozen=True, slots=True)
class PipelineHealth:
    """Everything the page shows. A missing part was not readable (see `faults[part]`) or does not exist yet.

    `where` is the address of the state objects. `alerts_kept` says whether an alert state exists.
    Without one no alert was ever open, or the object was deleted. `judged` has the monitor's last verdicts.
    """

    environment: str
    at: datetime
    where: str = ""
    layers: tuple[LayerHealth, ...] = ()
    other_tests: tuple[TaskTests, ...] = ()
    lag: LagHealth | None = None
    alerts: tuple[OpenAlert, ...] | None = None
    alerts_kept: bool = False
    judged: JudgedConditions | None = None
    undelivered: int = 0
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    objective: ObjectiveSettings | None = None
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> Mapping[str, str]:
        """Reason -> the parts that cannot be read."""
        parts: dict[str, list[str]] = {}
        for part, reason in self.faults.items():
            parts.setdefault(reason, []).append(part)
        return {reason: ", ".join(names) for reason, names in parts.items()}

    @property
    def measured_ago(self) -> timedelta | None:
        """Time since the monitor last read Kafka; None when that is not known."""
        return None if self.lag is None else self.at - self.lag.measured_at

    @property
    def watched(self) -> bool:
        """Whether the monitor has measured recently: only then "no open alert" means that all is well."""
        return self.measured_ago is not None and self.measured_ago <= MONITOR_SILENT_AFTER

    @property
    def no_lag(self) -> bool:
        """Whether S3 can be read and has no measurement of Kafka."""
        return self.lag is None and "lag" not in self.faults

    @property
    def never_measured(self) -> bool:
        """Whether S3 can be read and has no object of the monitor."""
        return self.no_lag and self.alerts is not None and not self.alerts_kept

    @property
    def judged_recently(self) -> bool:
        """Whether the monitor has judged the conditions in its last runs."""
        return self.judged is not None and self.at - self.judged.at <= MONITOR_SILENT_AFTER

    @property
    def conditions(self) -> list[ConditionHealth]:
        """Each condition, in the catalogue's order."""
        open_names, unknown = self._open(), self._unknown()
        rows = []
        for name, condition in CONDITIONS.items():
            limit = self.thresholds.get(name)
            text = f"{condition.comparison} {quantity(condition, limit.value)}" if limit else ""
            state: State = "open" if name in open_names else "unknown" if name in unknown else "ok"
            value = unknown[name] if state == "unknown" else self._value(name)
            rows.append(ConditionHealth(condition, text, limit.source if limit else "", state, value))
        return rows

    def _value(self, name: str) -> str:
        """The last value in words; empty where the monitor does not measure one."""
        verdict = self.judged.conditions.get(name) if self.judged and self.judged_recently else None
        return verdict.value if verdict else ""

    def details(self, name: str) -> tuple[str, ...]:
        """The texts that the monitor added to its last verdict, however old."""
        verdict = self.judged.conditions.get(name) if self.judged else None
        return verdict.details if verdict else ()

    def _open(self) -> set[str]:
        """Conditions that are open: by an alert, or by the last verdict where no alert is raised about them."""
        conditions = {alert.condition for alert in self.alerts or ()}
        limit = self.thresholds.get("notices_undelivered")
        if limit and CONDITIONS["notices_undelivered"].breached_by(self.undelivered, limit.value):
            conditions.add("notices_undelivered")
        if self.judged and self.judged_recently:
            conditions |= {name for name, verdict in self.judged.conditions.items() if verdict.outcome == "breached"}
        return conditions

    def _unknown(self) -> dict[str, str]:
        """Conditions whose state is unknown unless they are open, with the reason."""
        if self.alerts is None:
            return dict.fromkeys(CONDITIONS, "the alerts cannot be read")
        if self.judged is None:
            reason = "cannot be read" if "conditions" in self.faults else "the monitor has not judged yet"
            return dict.fromkeys(CONDITIONS, reason)
        if not self.judged_recently:
            return dict.fromkeys(CONDITIONS, f"the monitor last judged {ago(self.at - self.judged.at)}")
        blind = {alert.key.partition(":")[2] for alert in self.alerts if alert.condition == "monitor_blind"}
        if blind - set(SOURCE_NAMES.values()):  # not only a source failed: the monitor judged or stored nothing
            return dict.fromkeys(CONDITIONS, "the monitor judged nothing")
        return {name: reason for name, condition in CONDITIONS.items() if (reason := self._not_known(condition, blind))}

    def _not_known(self, condition: Condition, blind: set[str]) -> str:
        """Why nothing is known about a condition; empty when its state is known. `blind`: sources that failed."""
        verdict = self.judged.conditions.get(condition.name) if self.judged else None
        if condition.checked:
            if verdict is None:
                return "the monitor did not judge it"
            return verdict.value if verdict.outcome == "unknown" else ""
        source = SOURCE_NAMES.get(SOURCE_OF.get(condition.name, ""), "")
        return f"{source} failed" if source in blind else ""


@dataclass(slots=True)
class _Reader:
    """Reads all parts that can be read; a fault of one part does not hide another part.

    When S3 cannot be reached or does not answer in time, no other part is read: each read would wait as long.
    """

    connect: Callable[[], S3Client]
    faults: dict[str, str] = field(default_factory=dict)
    client: S3Client | None = None
    s3_fault: str = ""

    def try_to(self, part: str, read: Callable[[], Content]) -> Content | None:
        """The result of `read`; None and a fault on any error, because a wrong connection can raise any exception."""
        try:
            return read()
        except Exception as error:
            log.warning("cannot read %s", part, exc_info=True)
            self.faults[part] = _reason(error)
            if isinstance(error, NoConnectionError | HTTPClientError):
                self.s3_fault = self.faults[part]
            return None

    def from_s3(self, part: str, read: Callable[[S3Client], Content]) -> Content | None:
        """As `try_to`, with the client that all parts share."""
        if self.s3_fault:
            self.faults[part] = self.s3_fault
            return None
        if self.client is None:
            self.client = self.try_to(part, self.connect)
        if self.client is None:
            self.s3_fault = self.faults[part]
            return None
        client = self.client
        return self.try_to(part, lambda: read(client))


def collect(
    connect: Callable[[], S3Client], settings: Settings, variable: Callable[[], str | None], now: datetime
) -> PipelineHealth:
    """Read the objects of the DAGs. `variable` returns the content of the Variable `monitor_thresholds`."""
    reader = _Reader(connect)
    thresholds, threshold_faults = reader.try_to("thresholds", lambda: in_force(variable())) or in_force(None)
    if threshold_faults:
        reader.faults["thresholds"] = "; ".join(threshold_faults)
    storage = settings.storage
    layers, tests, lag, alerts, conditions = PARTS
    broken: dict[str, dict[str, str]] = {layers: {}, tests: {}}
    states = reader.from_s3(layers, lambda s3: layer_state.read_all(s3, storage, broken[layers]))
    partial = reader.from_s3(layers, lambda s3: partial_build.read_all(s3, storage, broken[layers])) or {}
    bronze = (states or {}).get("bronze")
    refresh = reader.from_s3(layers, lambda s3: rebuild.read(s3, storage, bronze.model)) if bronze else None
    others = reader.from_s3(tests, lambda s3: task_tests.read_all(s3, storage, broken[tests]))
    reader.faults.update({part: "; ".join(reasons.values()) for part, reasons in broken.items() if reasons})
    window = reader.from_s3(lag, lambda s3: lag_window.read(s3, storage))
    stored, version = reader.from_s3(alerts, lambda s3: S3AlertStore(s3, storage).load()) or (None, None)
    verdicts = reader.from_s3(conditions, lambda s3: judged.read(s3, storage))
    return PipelineHealth(
        environment=settings.monitor.environment,
        at=now,
        where=f"s3://{storage.bucket}/{storage.state_prefix}",
        layers=tuple(
            replace(
                _layer(states.get(layer), partial.get(layer), layer, thresholds, now),
                rebuild=refresh if layer == "bronze" and refresh and refresh.done < refresh.of else None,
                fault=broken[layers].get(layer_state.key(storage, layer), ""),
            )
            for layer in LAYERS
        )
        if states
        else (),
        other_tests=tuple(others or ()),
        lag=_lag(window) if window else None,
        alerts=_by_age(stored) if stored is not None else None,
        alerts_kept=version is not None,
        judged=verdicts,
        undelivered=len(transitions.undelivered(stored, now)) if stored else 0,
        thresholds=thresholds,
        objective=settings.objective,
        faults=reader.faults,
    )


def without_settings(error: Exception, now: datetime) -> PipelineHealth:
    """The page when the settings cannot be read: nothing is known, and each part has the error as its fault."""
    return PipelineHealth("environment unknown", now, faults=dict.fromkeys(PARTS, _reason(error)))


def _reason(error: Exception) -> str:
    return reason_of(error)


def _layer(
    state: LayerState | None,
    partial: PartialBuild | None,
    layer: Layer,
    thresholds: Mapping[str, Threshold],
    now: datetime,
) -> LayerHealth:
    newest = state.newest_quote_at if state else None
    age = None if newest is None else now - newest
    if state and partial and partial.finished_at < state.finished_at and partial.run != state.run:
        partial = None  # the whole layer was built since
    return LayerHealth(layer, state, age, thresholds[f"stale_{layer}"].value, partial)


def _lag(window: lag_window.LagWindow) -> LagHealth | None:
    newest = {partition: samples[-1] for partition, samples in sorted(window.samples.items()) if samples}
    if not newest:
        return None
    measured_at = max(sample.at for sample in newest.values())
    oldest_age = next((at - oldest for at, oldest in reversed(window.unread) if at == measured_at), None)
    spans = {number: (samples[0], samples[-1]) for number, samples in window.samples.items() if samples}
    return LagHealth(measured_at, newest, oldest_age or None, spans)  # the window keeps an unknown age as zero


def _by_age(state: AlertState) -> tuple[OpenAlert, ...]:
    """Open alerts, the oldest first."""
    return tuple(sorted(state.open.values(), key=lambda alert: alert.since))
