"""The result of each measuring task of the monitor; a number that is not known is None, never zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

from include.catalogue import Layer
from include.instants import Instant
from include.monitoring.checks.arrivals import Span
from include.monitoring.checks.baseline import Baseline
from include.monitoring.checks.coins import CoinArrival
from include.monitoring.checks.dag_runs import Problem
from include.monitoring.checks.dead_letters import NONE, DeadLetters
from include.monitoring.checks.lag import Lag
from include.monitoring.checks.latency import LatencyMeasurement
from include.state.audited import Audited
from include.state.layer_state import LayerState
from include.state.task_tests import TaskTests

Source = Literal["kafka", "objects", "layers", "consumer", "dags"]
SOURCES: tuple[Source, ...] = get_args(Source)


class KafkaMeasurement(msgspec.Struct, frozen=True):
    """Lag of the consumer group. `committed` is by partition; `members` is None when the broker does not report it.

    `window_fault` is the reason why these statuses, or the next, come from one sample only; empty when all is well.
    """

    lag: Lag
    members: int | None
    group_state: str
    retention_seconds: float | None
    committed: Mapping[int, int | None]
    window_fault: str
    oldest_unread_at: Instant | None = None
    """Time of the oldest unread record; None when all are read, or the time is not known."""

    @property
    def stalled_partitions(self) -> int | None:
        """Number of stalled partitions; None when there is only one sample and it shows no stall."""
        return None if self.window_fault and not self.lag.stalled else len(self.lag.stalled)


class ArrivalsMeasurement(msgspec.Struct, frozen=True):
    """Objects that arrived in S3 during the last hour; `listed` is the number of keys that S3 listed for it.

    `measured_at` is the time of the listing, `newest_at` the arrival of the newest data object of that hour.
    """

    objects: int
    bytes: int
    dead_letter_objects: int
    spans: Mapping[int, Span]
    listed: int
    listed_from: Instant
    measured_at: Instant | None = None
    newest_at: Instant | None = None
    dead_letters: DeadLetters = NONE
    coins: Mapping[str, CoinArrival] = {}
    """Each coin of the seed, by its symbol."""

    @property
    def silent_coins(self) -> int | None:
        """Number of silent coins; None when that is not known yet."""
        return sum(coin.silent for coin in self.coins.values()) if any(c.known for c in self.coins.values()) else None


class LayersMeasurement(msgspec.Struct, frozen=True):
    """The layers' states, the tests outside the layers, each layer's data age in seconds, and undelivered notices.

    A broken object is in `unreadable` (key -> fault), and its layer or task is left out. `undelivered` is None when the
    alert state is broken.
    """

    states: Mapping[Layer, LayerState | None]
    other_tests: Sequence[TaskTests]
    ages: Mapping[Layer, float | None]
    undelivered: int | None
    undelivered_error: str
    unreadable: Mapping[str, str] = {}
    latency: LatencyMeasurement = LatencyMeasurement()
    audit: Audited | None = None
    """The last audit; None before the first."""


class ConsumerMeasurement(msgspec.Struct, frozen=True):
    """The consumer's metrics in CloudWatch: values of the last windows by metric, oldest first, None without data.

    `watched` is the number of windows, counted back from now, in which the monitor itself ran.
    `alarms` are the thresholds of the CloudWatch alarms by condition.
    """

    windows: Mapping[str, Sequence[float | None]]
    watched: int
    alarms: Mapping[str, float]
    baseline: Baseline | None
    minutes: Mapping[str, Sequence[tuple[Instant, float]]] = {}
    """The values of each metric by minute, oldest first, over the same windows."""


class DagsMeasurement(msgspec.Struct, frozen=True):
    """The problems of each watched DAG, by its id; empty for a DAG that does what its schedule promises.

    `fault` is the reason why the memory of earlier runs cannot be read or written; empty when all is well.
    """

    problems: Mapping[str, Sequence[Problem]]
    fault: str

    @property
    def unhealthy(self) -> int:
        """Number of DAGs with a problem."""
        return sum(bool(problems) for problems in self.problems.values())


Measurement = KafkaMeasurement | ArrivalsMeasurement | LayersMeasurement | ConsumerMeasurement | DagsMeasurement


class Measurements(msgspec.Struct, frozen=True):
    """The results of one run, each under its source; None when the measuring task failed."""

    kafka: KafkaMeasurement | None = None
    objects: ArrivalsMeasurement | None = None
    layers: LayersMeasurement | None = None
    consumer: ConsumerMeasurement | None = None
    dags: DagsMeasurement | None = None
