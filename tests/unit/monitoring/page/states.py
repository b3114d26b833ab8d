"""What the page's tests show: a pipeline that is well, and changes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import UNSET

from include.catalogue import CONDITIONS, LAYERS, Layer
from include.monitoring.alerts.model import OpenAlert
from include.monitoring.checks.lag import Sample
from include.monitoring.checks.thresholds import in_force
from include.monitoring.page.health import LagHealth, LayerHealth, PipelineHealth
from include.monitoring.page.read_model import ReadModel, State, TrendState
from include.monitoring.page.trends import LINES, Trends
from include.settings import ObjectiveSettings
from include.state.dbt_tests import DbtTests, FailingTest
from include.state.judged import Judged, JudgedConditions
from include.state.kpis import CoinKpis, Kpis
from include.state.latency import HourLatency, Percentiles, RecentLatency
from include.state.layer_state import DagRunRef, LayerState, QuarantineCount, RefusedRows
from include.state.test_runs import Run, TestRuns

NOW = datetime(2026, 11, 30, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUN = DagRunRef("crypto_transform", "run", "http://airflow.test/run")
WELL = {name: Judged("ok", "0") for name, condition in CONDITIONS.items() if condition.checked}


def layer(name: Layer, age: timedelta = MINUTE, failing: tuple[FailingTest, ...] = ()) -> LayerHealth:
    """A layer after a build with 24 tests."""
    percentiles = Percentiles(87, 60, 90, 120, 130)
    state = LayerState(
        layer=name,
        model="crypto_x",
        rows=1_000,
        newest_quote_at=NOW - age,
        finished_at=NOW - MINUTE,
        tests=DbtTests(24 - len(failing), 0, len(failing), failing),
        run=RUN,
        quarantine=QuarantineCount(997, 3, (RefusedRows("2026-11-30", "price_in_range", 3),))
        if name == "silver"
        else UNSET,
        latency={name: RecentLatency(percentiles, (HourLatency(NOW - timedelta(hours=1), percentiles),))},
    )
    return LayerHealth(name, state, age, 7_200)


def health(*alerts: OpenAlert, judged_at: datetime = NOW - MINUTE, **verdicts: Judged) -> PipelineHealth:
    """A pipeline whose monitor judged lately, with these open alerts."""
    first, last = Sample(NOW - 11 * MINUTE, 1_000, 0), Sample(NOW - MINUTE, 2_800, 3)
    return PipelineHealth(
        environment="test",
        at=NOW,
        where="s3://lake/state/",
        layers=tuple(layer(name) for name in LAYERS),
        lag=LagHealth(NOW - MINUTE, {0: last}, timedelta(seconds=4), {0: (first, last)}),
        alerts=alerts,
        alerts_kept=True,
        judged=JudgedConditions(judged_at, WELL | verdicts),
        thresholds=in_force(None)[0],
        objective=ObjectiveSettings.model_construct(),
    )


def alert(key: str, minutes: float = 10, **more: object) -> OpenAlert:
    """An alert that began so many minutes ago and was detected a minute later."""
    condition = CONDITIONS[key.partition(":")[0]]
    subject = key.partition(":")[2]
    values: dict[str, object] = {
        "title": f"{condition.title}: {subject}" if subject else condition.title,
        "severity": condition.severity,
        "since": NOW - (minutes - 1) * MINUTE,
        "notified_at": NOW - (minutes - 1) * MINUTE,
        "began_at": NOW - minutes * MINUTE,
        "value": "3 partitions",
        "threshold": "> 0, catalogue",
    }
    return OpenAlert(key=key, condition=condition.name, **(values | more))  # type: ignore[arg-type]


def runs_of(name: str, statuses: str, layer: str = "gold", **more: str) -> TestRuns:
    """A test with one run a quarter of an hour: p passed, w warned, f failed, s skipped."""
    words = {"p": "pass", "w": "warn", "f": "fail", "s": "skipped"}
    times = [NOW - (len(statuses) - place) * 15 * MINUTE for place in range(len(statuses))]
    runs = [Run(at, words[one], int(one in "wf") * 4) for at, one in zip(times, statuses, strict=True)]
    return TestRuns(name, layer, "crypto_x", "error", runs, **more)


def coin(symbol: str = "BTC", price: float = 64_123.12) -> CoinKpis:
    """A coin whose week is known and whose month is not."""
    return CoinKpis(
        id=1,
        symbol=symbol,
        name="Bitcoin",
        price=price,
        change_percent_1h=0.12,
        change_percent_24h=-1.5,
        change_percent_7d=0.0,
        change_percent_30d=None,
        high_price_24h=price * 1.1,
        low_price_24h=price * 0.9,
        quote_count_24h=8_640,
        volatility_percent_7d=2.41,
        drawdown_percent_30d=None,
        last_quote_at=NOW - MINUTE,
        closes_48h=(price * 0.9, None, price * 1.1, price),
    )


def trends(**values: float) -> Trends:
    """An hour of trends: each line has one value at every point, a hundred where nothing else is said."""
    lines = {line.id: [values.get(line.metric, 100.0)] * 12 for line in LINES}
    return Trends("1h", NOW - timedelta(hours=1), NOW, 300, lines)


def model(seen: PipelineHealth | None = None, **more: object) -> ReadModel:
    """Everything of a page."""
    parts: dict[str, object] = {
        "tests": [runs_of("not_null_price", "pppp")],
        "past": [],
        "silences": {},
        "kpis": Kpis(NOW - MINUTE, (coin(),), RUN),
    }
    state = State(seen or health(), **(parts | more))  # type: ignore[arg-type]
    return ReadModel(NOW, state, TrendState(trends()))
