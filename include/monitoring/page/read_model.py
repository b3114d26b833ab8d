"""What the page knows: the state objects in S3 and the trends of CloudWatch, each with its own faults and its own age.

It is small, and the same for every reader, so it is made once for all open pages (`cache`). While S3 is away, the page
shows what it knew before, and says since when.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from include.monitoring.page import health, trends
from include.monitoring.page.cache import SingleFlight
from include.monitoring.page.health import PARTS, PipelineHealth
from include.monitoring.page.trends import RANGES, Trends
from include.reasons import reason_of
from include.settings import Settings
from include.state import kpis, past_alerts, silences, test_runs
from include.state.kpis import Kpis
from include.state.past_alerts import PastAlert
from include.state.silences import Silences
from include.state.test_runs import TestRuns

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client

Content = TypeVar("Content")
RUNS_OF_TESTS, PRICES = "runs of the tests", "prices"
"""Names of parts in `PipelineHealth.faults`."""
CLIENT_SECONDS = 300.0
"""To open a client takes longer than to read all objects. The connection in Airflow may get new credentials."""
STATE_SECONDS = 10.0
"""The page asks again each half minute; a reader who loads it again at once costs nothing."""
TREND_SECONDS = 120.0
"""The points of a chart are five minutes apart, and each request of its 17 lines costs 0.00017 US dollars."""


@dataclass(frozen=True, slots=True)
class State:
    """What S3 has; None is a part that cannot be read, and in `kpis` also one that nobody has written yet.

    `away_since` is the time of the first read that failed, None while S3 answers.
    """

    health: PipelineHealth
    tests: Sequence[TestRuns] | None = None
    past: Sequence[PastAlert] | None = None
    silences: Silences | None = None
    kpis: Kpis | None = None
    away_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrendState:
    """What CloudWatch has: the trends, or the reason of their absence."""

    trends: Trends | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ReadModel:
    """Everything of one page at `at`."""

    at: datetime
    state: State
    trends: TrendState


@dataclass(frozen=True, slots=True)
class Sources:
    """How the page reaches its sources. `variable` returns the content of the Variable `monitor_thresholds`."""

    settings: Settings
    s3: Callable[[], S3Client]
    cloudwatch: Callable[[], CloudWatchClient]
    variable: Callable[[], str | None]
    clock: Callable[[], datetime]

    def state(self, before: State | None = None) -> State:
        """Read S3. While no part can be read, the parts of `before` stay, with the time since when."""
        now, connect = self.clock(), cache(self.s3)  # a connection takes longer than an object
        read = health.collect(connect, self.settings, self.variable, now)
        if set(PARTS) <= set(read.faults):
            if before is None:
                return State(read, away_since=now)
            kept = replace(before.health, at=now, faults=read.faults)
            return replace(before, health=kept, away_since=before.away_since or now)
        faults, storage = dict(read.faults), self.settings.storage
        broken: dict[str, str] = {}
        tests = _part(connect, faults, RUNS_OF_TESTS, lambda s3: test_runs.read_all(s3, storage, broken))
        if broken:
            faults[RUNS_OF_TESTS] = "; ".join(broken.values())
        past = _part(connect, faults, "past alerts", lambda s3: past_alerts.read(s3, storage))
        known = _part(connect, faults, "silences", lambda s3: silences.read(s3, storage)[0])
        prices = _part(connect, faults, PRICES, lambda s3: kpis.read(s3, storage))
        return State(replace(read, faults=faults), tests, past, known, prices)

    def trends(self, chosen: str) -> TrendState:
        """Read CloudWatch; its error is the content of a page without trends."""
        try:
            client = self.cloudwatch()
            return TrendState(trends.read(client, self.settings.monitor, RANGES[chosen], self.clock()))
        except Exception as error:  # noqa: BLE001 (a wrong connection can raise any exception)
            return TrendState(fault=reason_of(error))


def _part(
    connect: Callable[[], S3Client], faults: dict[str, str], name: str, read: Callable[[S3Client], Content]
) -> Content | None:
    """What `read` returns; None and a fault on any error, because a wrong connection can raise any."""
    try:
        return read(connect())
    except Exception as error:  # noqa: BLE001
        faults[name] = reason_of(error)
        return None


class Reader:
    """Reads for all pages of one process: however many are open, the sources are asked once for each period."""

    def __init__(self, sources: Sources) -> None:
        self._clock = sources.clock
        self._s3 = SingleFlight["S3Client"](lambda *_: sources.s3(), CLIENT_SECONDS)
        self._cloudwatch = SingleFlight["CloudWatchClient"](lambda *_: sources.cloudwatch(), CLIENT_SECONDS)
        self._sources = replace(sources, s3=self._s3.get, cloudwatch=self._cloudwatch.get)
        self._state = SingleFlight[State](lambda _, before: self._read_state(before), STATE_SECONDS)
        self._trends = SingleFlight[TrendState](lambda chosen, _: self._read_trends(chosen), TREND_SECONDS)

    def _read_state(self, before: State | None) -> State:
        """The state; after a fault the next reading opens a new client."""
        state = self._sources.state(before)
        if state.health.faults:
            self._s3.forget()
        return state

    def _read_trends(self, chosen: str) -> TrendState:
        """The trends; after a fault the next reading opens a new client."""
        trends = self._sources.trends(chosen)
        if trends.fault:
            self._cloudwatch.forget()
        return trends

    def read(self, chosen: str) -> ReadModel:
        """The model with the trends of one range (a key of `RANGES`). The ages in it are of now.

        S3 and CloudWatch are asked at the same time.
        """
        with ThreadPoolExecutor(1) as pool:
            trends = pool.submit(copy_context().run, self._trends.get, chosen)
            state, now = self._state.get(), self._clock()
        return ReadModel(now, replace(state, health=_aged(state.health, now)), trends.result())


def _aged(state: PipelineHealth, now: datetime) -> PipelineHealth:
    """The same state, seen at `now`."""
    layers = tuple(
        replace(layer, age=now - layer.state.newest_quote_at) if layer.state and layer.state.newest_quote_at else layer
        for layer in state.layers
    )
    return replace(state, at=now, layers=layers)
