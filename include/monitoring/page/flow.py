"""The flow from the producer to gold: rate, age and state of each stage, and which stage is at fault. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import UNSET

from include.catalogue import LAYERS, Layer
from include.instants import old, span
from include.monitoring.alerts import causes
from include.monitoring.alerts.model import OpenAlert
from include.monitoring.page.health import LagHealth, LayerHealth, PipelineHealth
from include.monitoring.page.trends import Trends

StageState = Literal["fault", "warning", "suffers", "unknown", "ok"]
WORDS: dict[StageState, str] = {
    "fault": "at fault",
    "warning": "warning",
    "suffers": "suffers",
    "unknown": "unknown",
    "ok": "ok",
}
"""What the page says beside the sign of a state, the worst first."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its main number, further facts, and its state with the reason."""

    name: str
    value: str
    facts: tuple[str, ...]
    state: StageState
    reason: str = ""

    @property
    def word(self) -> str:
        """The state in words."""
        return WORDS[self.state]


ALERTS: dict[str, tuple[str, ...]] = {
    "Producer": ("quotes_missing*",),
    "Kafka": ("kafka_lag", "retention_headroom", "monitor_blind:Kafka*"),
    "Consumer": ("consumer_stalled", "partitions_stopped", "low_throughput", "dead_letters", "monitor_blind:consumer*"),
    "S3": ("upload_errors", "slow_uploads", "monitor_blind:*S3*"),
    "Bronze": ("stale_bronze", "task_failed:*/bronze*"),
    "Silver": ("stale_silver", "quarantine_share", "task_failed:*/silver*"),
    "Gold": ("stale_gold", "task_failed:*/gold*", "dag_unhealthy:crypto_transform", "run_late:crypto_transform*"),
}
"""Stage -> the keys of the alerts that are about it, as patterns. A failing test belongs to the layer that it tests."""

HOLD_BACK = {
    "low_throughput",
    "kafka_lag",
    "consumer_stalled",
    "partitions_stopped",
    "upload_errors",
    "slow_uploads",
    "task_failed",
    "dbt_tests",
    "stale_bronze",
    "stale_silver",
}
"""Conditions because of which the next stages get nothing, or get it late."""


def root_of(alert: OpenAlert, others: Iterable[OpenAlert]) -> OpenAlert | None:
    """The open alert that explains this one, None if it stands by itself.

    The alert state names the cause of an alert that began after it. The same rule explains one that opened first.
    """
    others = list(others)
    known = next((other for other in others if alert.cause is not UNSET and other.key == alert.cause), None)
    if known is not None:
        return known
    later = (other for other in others if other.condition != alert.condition and other.cause is UNSET)
    return next((other for other in later if causes.is_cause(other, alert)), None)


def stages(health: PipelineHealth, trends: Trends | None, known: bool) -> list[Stage]:
    """All stages in order. `known` says whether the monitor's verdicts are recent and readable."""
    measured = [
        ("Producer", *_producer(health.lag)),
        ("Kafka", *_kafka(health.lag)),
        ("Consumer", *_consumer(health.lag)),
        ("S3", *_objects(trends)),
        *((layer.capitalize(), *_layer(health, layer)) for layer in LAYERS),
    ]
    judged = [Stage(name, value, facts, *_state(name, value, health, known)) for name, value, facts in measured]
    return list(_waiting(judged, health))


def _waiting(judged: Iterable[Stage], health: PipelineHealth) -> Iterator[Stage]:
    """The same stages; those after one that passes nothing on, or passes it late, suffer from it."""
    cause = ""
    for stage in judged:
        yield replace(stage, state="suffers", reason=f"waits for {cause}") if cause and stage.state == "ok" else stage
        if stage.state == "fault" and any(_holds_back(alert, stage.name, health) for alert in health.alerts or ()):
            cause = stage.name


def _holds_back(alert: OpenAlert, name: str, health: PipelineHealth) -> bool:
    return alert.severity == "error" and alert.condition in HOLD_BACK and _is_about(name, alert, health)


def _state(name: str, value: str, health: PipelineHealth, known: bool) -> tuple[StageState, str]:
    alerts = health.alerts or ()
    mine = [alert for alert in alerts if _is_about(name, alert, health)]
    roots = [alert for alert in mine if root_of(alert, alerts) is None]
    if not known:
        return "unknown", "last known: " + ", ".join(alert.title for alert in mine) if mine else ""
    if roots:
        error = next((alert for alert in roots if alert.severity == "error"), None)
        return ("fault", error.title) if error else ("warning", roots[0].title)
    if mine:
        cause = root_of(mine[0], alerts)
        return "suffers", f"{mine[0].title}, because: {cause.title}" if cause else mine[0].title
    if value in ("unknown", "never built"):
        return "unknown", ""
    states = {row.condition.name: row for row in health.conditions}
    own = [row for key, row in states.items() if any(fnmatchcase(key, pattern) for pattern in ALERTS[name])]
    unknown = [row for row in own if row.state == "unknown"]
    if own and len(unknown) == len(own):
        return "unknown", unknown[0].value
    return "ok", ""


def _is_about(name: str, alert: OpenAlert, health: PipelineHealth) -> bool:
    if alert.condition == "dbt_tests":
        return name == _tested_layer(alert.key.partition(":")[2], health)
    return any(fnmatchcase(alert.key, pattern) for pattern in ALERTS[name])


def _tested_layer(test: str, health: PipelineHealth) -> str:
    """The stage of a failing test; gold for a test of no layer, which is about what users see."""
    for layer in health.layers:
        if layer.state and any(failing.name == test for failing in layer.state.tests.failing):
            return layer.layer.capitalize()
    return "Gold"


def _rates(lag: LagHealth) -> tuple[float | None, float | None]:
    """Messages a second that were sent and landed between the first and the last sample of the window."""
    sent = landed = 0.0
    seconds = 0.0
    for first, last in lag.spans.values():
        duration = (last.at - first.at).total_seconds()
        if duration > 0:
            seconds = max(seconds, duration)
            sent += last.position + last.lag - first.position - first.lag
            landed += last.position - first.position
    return (max(sent, 0) / seconds, max(landed, 0) / seconds) if seconds else (None, None)


def rate(value: float | None) -> str:
    """Like 3.0 /s, or how many in a minute below one in a second."""
    if value is None:
        return "unknown"
    return f"{value:,.1f} /s" if value >= 1 or value == 0 else f"{value * 60:,.1f} /min"


def _producer(lag: LagHealth | None) -> tuple[str, tuple[str, ...]]:
    sent = _rates(lag)[0] if lag else None
    return rate(sent), ("sent to the topic",) if sent is not None else ("known after the next look at Kafka",)


def _kafka(lag: LagHealth | None) -> tuple[str, tuple[str, ...]]:
    if lag is None:
        return "unknown", ()
    age = "age unknown" if lag.oldest_age is None else f"oldest {old(lag.oldest_age)}"
    return f"{lag.total:,} waiting", ((age,) if lag.total else ("all is landed",))


def _consumer(lag: LagHealth | None) -> tuple[str, tuple[str, ...]]:
    if lag is None:
        return "unknown", ()
    behind = sum(sample.lag > 0 for sample in lag.partitions.values())
    return rate(_rates(lag)[1]), (f"{len(lag.partitions)} partitions, messages wait in {behind}",)


def _objects(trends: Trends | None) -> tuple[str, tuple[str, ...]]:
    files, upload = newest(trends, "ObjectsLastHour.Average"), newest(trends, "UploadDuration.p99")
    facts = (f"upload p99 {span(upload)}",) if upload is not None else ()
    return ("unknown" if files is None else f"{files:,.0f} files/h"), facts


RECENT = timedelta(minutes=15)
"""A number of CloudWatch that is older is not the present one."""


def newest(trends: Trends | None, line: str) -> float | None:
    """The newest number of a line, None without a recent one."""
    if trends is None:
        return None
    steps = max(int(RECENT.total_seconds() // trends.seconds), 1) + 1
    recent: Sequence[float | None] = trends.values.get(line, ())[-steps:]
    return next((value for value in reversed(recent) if value is not None), None)


def _layer(health: PipelineHealth, name: Layer) -> tuple[str, tuple[str, ...]]:
    layer = next((layer for layer in health.layers if layer.layer == name), None)
    if layer is None or layer.fault:
        return "unknown", ()
    if layer.state is None:
        return "never built", ()
    tests = layer.state.tests
    count = tests.passed + tests.warned + tests.failed
    passed = f"{tests.passed} of {count} tests pass"
    return (old(layer.age) if layer.age is not None else "no rows"), (f"{layer.state.rows:,} rows", passed)


def layer_of(health: PipelineHealth, name: Layer) -> LayerHealth | None:
    """One layer, None when the layers are not known."""
    return next((layer for layer in health.layers if layer.layer == name), None)
