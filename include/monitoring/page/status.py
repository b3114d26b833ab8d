"""`/pipeline-health/status.json`: what the page shows, for scripts. docs/monitoring.md describes the fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from include.catalogue import Severity
from include.instants import Instant
from include.monitoring.page.flow import StageState
from include.monitoring.page.health import LayerHealth, State
from include.monitoring.page.sentence import Overall
from include.monitoring.page.view import AlertView, View


class StageStatus(msgspec.Struct, frozen=True):
    """One stage of the flow; `reason` is empty while it is well."""

    name: str
    state: StageState
    value: str
    reason: str


class LayerStatus(msgspec.Struct, frozen=True):
    """One layer after its last build; the numbers are None when they are not known."""

    rows: int | None
    newest_quote_at: Instant | None
    age_seconds: float | None
    tests_passed: int | None
    tests_warned: int | None
    tests_failed: int | None


class AlertStatus(msgspec.Struct, frozen=True):
    """One open alert. `cause` is the key of the alert that explains it; `silenced_until` is None without a silence."""

    key: str
    severity: Severity
    title: str
    since: Instant
    value: str
    threshold: str
    cause: str | None
    silenced_until: Instant | None


class ConditionStatus(msgspec.Struct, frozen=True):
    """One condition with its last value and its threshold in words."""

    state: State
    value: str
    alarms_when: str


class CoinStatus(msgspec.Struct, frozen=True):
    """One coin in gold. The price is in US dollars, the change in percent."""

    price: float
    last_quote_at: Instant
    change_percent_24h: float | None


class PageStatus(msgspec.Struct, frozen=True):
    """The page at `at`. `alerts` and `prices` are None when they are not known, which differs from empty.

    `since` is the beginning of what the sentence is about. `unreadable_since` is set while S3 cannot be read: the other
    parts are then those of the last successful read. `faults` has the reason for each part that cannot be read.
    """

    at: Instant
    environment: str
    state: Overall
    sentence: str
    since: Instant | None
    unreadable_since: Instant | None
    stages: tuple[StageStatus, ...]
    layers: Mapping[str, LayerStatus]
    alerts: tuple[AlertStatus, ...] | None
    conditions: Mapping[str, ConditionStatus]
    prices: Mapping[str, CoinStatus] | None
    faults: Mapping[str, str]
    version: Literal[1] = 1


def of(view: View) -> PageStatus:
    """The status of a view."""
    health, trends_fault = view.health, {"trends": view.trends_fault} if view.trends_fault else {}
    return PageStatus(
        at=health.at,
        environment=health.environment,
        state=view.sentence.state,
        sentence=view.sentence.text,
        since=view.sentence.since,
        unreadable_since=view.away_since,
        stages=tuple(StageStatus(one.name, one.state, one.value, one.reason) for one in view.stages),
        layers={layer.layer: _layer(layer) for layer in health.layers},
        alerts=None if view.alerts is None else tuple(_alert(row) for row in view.alerts),
        conditions={row.condition.name: ConditionStatus(row.state, row.value, row.limit) for row in view.conditions},
        prices=_prices(view),
        faults={**health.faults, **trends_fault},
    )


def as_json(view: View) -> bytes:
    """The status as one JSON object."""
    return msgspec.json.encode(of(view))


def _layer(layer: LayerHealth) -> LayerStatus:
    if layer.state is None:
        return LayerStatus(None, None, None, None, None, None)
    tests, age = layer.state.tests, None if layer.age is None else layer.age.total_seconds()
    return LayerStatus(layer.state.rows, layer.state.newest_quote_at, age, tests.passed, tests.warned, tests.failed)


def _alert(row: AlertView) -> AlertStatus:
    alert = row.alert
    return AlertStatus(
        alert.key,
        alert.severity,
        alert.title,
        alert.begin_at,
        alert.value,
        alert.threshold,
        row.cause.key if row.cause else None,
        row.silence.until if row.silence else None,
    )


def _prices(view: View) -> dict[str, CoinStatus] | None:
    if view.kpis is None:
        return None
    return {
        coin.symbol: CoinStatus(coin.price, coin.last_quote_at, coin.change_percent_24h) for coin in view.kpis.coins
    }
