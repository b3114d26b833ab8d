"""From the measurements of one run of the monitor: the numbers to publish, and a verdict on each condition. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from msgspec.structs import replace

from include.catalogue import CONDITIONS, METRICS, Condition, Layer, Severity
from include.instants import span, to_second
from include.monitoring.checks import drift
from include.monitoring.checks.arrivals import mean_batch
from include.monitoring.checks.cloudwatch import Datum
from include.monitoring.checks.dead_letters import NONE
from include.monitoring.checks.judge import Evidence, Subject, Verdict, judge
from include.monitoring.checks.measurements import (
    ArrivalsMeasurement,
    ConsumerMeasurement,
    DagsMeasurement,
    KafkaMeasurement,
    LayersMeasurement,
    Measurements,
    Source,
)
from include.monitoring.checks.thresholds import FROM_HISTORY, Threshold, differing_alarms
from include.state.audited import Audited
from include.state.latency import percentile
from include.state.layer_state import QuarantineCount
from include.state.record_fields import RecordFields
from include.state.task_tests import EVERY_ROW

SOURCE_NAMES: dict[str, str] = {
    "kafka": "Kafka",
    "objects": "objects in S3",
    "layers": "layer states in S3",
    "consumer": "consumer metrics in CloudWatch",
    "dags": "DAG runs in Airflow",
    "content": "content of state objects",
    "publish": "publishing to CloudWatch",
    "thresholds": "thresholds",
}
"""Everything that can fail to be read or used, with its name in alerts."""
ABOUT_LANDING = {
    "kafka_lag", "consumer_stalled", "retention_headroom", "upload_errors", "slow_uploads", "low_throughput",
    "quotes_missing", "stale_gold", "stale_silver", "stale_bronze",
}  # fmt: skip
"""Conditions whose reader needs to know how late landing is."""
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of facts that end no alert."""
MOST_PARTITIONS = 20
"""Maximum of stalled partitions that the details name."""


def numbers(measured: Measurements, blind: Mapping[str, str]) -> list[Datum]:
    """Every number that is known, for CloudWatch and for the checks. A number that is not known is left out.

    `blind` has the reason for each source that could not be read.
    """
    kafka, objects, layers = measured.kafka, measured.objects, measured.layers
    table: dict[str, float | None] = {"MonitorHeartbeat": 1, "BlindSources": len(blind)}
    by_layer: dict[str, Mapping[Layer, float | None]] = {}
    if kafka:
        table |= {
            "SumOffsetLag": kafka.lag.total,
            "MaxOffsetLag": kafka.lag.worst,
            "StalledPartitions": kafka.stalled_partitions,
            "EstimatedMaxTimeLag": kafka.lag.seconds,
            "RetentionHeadroom": kafka.lag.headroom_seconds,
        }
    if objects:
        table |= {
            "ObjectsLastHour": objects.objects,
            "BytesLastHour": objects.bytes,
            "BatchSizeLastHour": mean_batch(objects.spans, kafka.committed if kafka else {}),
            "DeadLetterObjects": objects.dead_letter_objects,
            "SilentCoins": objects.silent_coins,
        }
    if layers:
        table |= {
            "FailingTests": len(failing_tests(layers)) or (None if layers.unreadable else 0),
            "UndeliveredNotices": layers.undelivered,
            "AuditFindings": _audit_findings(layers.audit),
            "QuarantineShare": quarantine.percent if (quarantine := _quarantine(layers)) else None,
            "BurningObjectives": layers.latency.burning,
            "DriftingFields": len(fields.drifting) if (fields := _record_fields(layers)) else None,
        }
        by_layer = {"DataAge": layers.ages, "BytesScanned": _scanned_bytes(layers)}
    if measured.dags:
        table["UnhealthyDags"] = measured.dags.unhealthy
    data = [Datum(metric, value) for metric, value in table.items() if value is not None]
    for metric, values in by_layer.items():
        data += [Datum(metric, value, layer) for layer, value in values.items() if value is not None]
    return data + (_latencies(layers) if layers else [])


def _latencies(layers: LayersMeasurement) -> list[Datum]:
    """The distribution of each build that was not published yet, at the end of the build; its value is the p95."""
    return [
        Datum(f"LatencyTo{stage.capitalize()}", percentile(dict(build.values), 95), None, build.values, build.at)
        for stage, builds in layers.latency.builds.items()
        for build in builds
    ]


def _scanned_bytes(layers: LayersMeasurement) -> dict[Layer, float | None]:
    """Bytes that each layer's last build read; None where they are not known."""
    return {
        layer: sum(state.scanned.values()) if state and state.scanned else None
        for layer, state in layers.states.items()
    }


def _quarantine(layers: LayersMeasurement) -> QuarantineCount | None:
    """The counts of silver's last build; None if it was never built, or built by a version that did not count."""
    silver = layers.states.get("silver")
    return silver.quarantine if silver and isinstance(silver.quarantine, QuarantineCount) else None


def _record_fields(layers: LayersMeasurement) -> RecordFields | None:
    """The fields of bronze's records; None if it was never built, is empty, or a version built it that did not look."""
    bronze = layers.states.get("bronze")
    return bronze.record_fields or None if bronze else None


def failing_tests(layers: LayersMeasurement) -> dict[str, Subject]:
    """Each failing test of the layers' last builds and of the tasks outside them, as the subject of its alert.

    A test that fails both in a layer's build and in the daily run over every row counts once.
    The daily run's warnings do not count.
    """
    places = [(str(layer), state.tests) for layer, state in layers.states.items() if state]
    places += [(other.task, other.tests) for other in layers.other_tests]
    reports: dict[str, Subject] = {}
    for place, tests in places:
        for test in tests.failing:
            if place != EVERY_ROW or test.severity == "error":
                severity: Severity = "warning" if test.severity == "warn" else "error"
                reports.setdefault(test.name, Subject(test.report(place), severity, test.since))
    return reports


def verdicts(measured: Measurements, blind: Mapping[str, str], thresholds: Mapping[str, Threshold]) -> list[Verdict]:
    """The verdict on every condition that the monitor checks, in the catalogue's order."""
    known = {(datum.metric, datum.layer): datum.value for datum in numbers(measured, blind)}
    limits = with_learned(thresholds, measured.consumer)
    differing = differing_alarms(limits, measured.consumer.alarms if measured.consumer else {})
    judged = []
    for condition in CONDITIONS.values():
        if condition.checked:
            number = known.get((str(condition.metric), condition.layer))
            if condition.name == "monitor_blind":
                sources = {SOURCE_NAMES[name]: Subject(text) for name, text in blind.items()}
                evidence = Evidence((number,), subjects=sources)
            else:
                evidence = _evidence(condition, measured, number)
            verdict = judge(condition, evidence, limits[condition.name], differing.get(condition.name, ""))
            if verdict.outcome == "breached" and condition.name in ABOUT_LANDING:
                verdict = replace(verdict, details=(*verdict.details, *_landing(measured)))
            judged.append(verdict)
    return judged


def _landing(measured: Measurements) -> list[str]:
    """How late landing is: the lag, and when the newest object came; one line for each that is known."""
    kafka, objects = measured.kafka, measured.objects
    lines = []
    if kafka:
        oldest = f", the oldest since {to_second(kafka.oldest_unread_at)}" if kafka.oldest_unread_at else ""
        lines.append(f"not landed: {kafka.lag.total:,} messages{oldest}")
    if objects and objects.measured_at:
        newest = f"at {to_second(objects.newest_at)}" if objects.newest_at else "more than an hour ago"
        lines.append(f"newest object landed {newest}")
    return lines


def with_learned(thresholds: Mapping[str, Threshold], consumer: ConsumerMeasurement | None) -> dict[str, Threshold]:
    """The thresholds with the baseline of throughput that was learned, if one was."""
    learned = consumer.baseline if consumer else None
    if learned and learned.value is not None:
        return {**thresholds, "low_throughput": Threshold(learned.value, FROM_HISTORY)}
    return dict(thresholds)


def newest_windows(consumer: ConsumerMeasurement | None) -> list[Datum]:
    """The consumer's numbers in the newest window, which CloudWatch has from the consumer itself."""
    windows = consumer.windows if consumer else {}
    return [Datum(name, value) for name, values in windows.items() if values and (value := values[-1]) is not None]


def _evidence(condition: Condition, measured: Measurements, number: float | None) -> Evidence:
    source, reader = _READERS[condition.name]
    measurement = getattr(measured, source)
    if measurement is None:
        return Evidence(blind=f"{SOURCE_NAMES[source]} could not be read")
    return reader(measurement, condition, number)


def _lag(kafka: KafkaMeasurement, _: Condition, total: float | None) -> Evidence:
    seconds = kafka.lag.seconds
    age = "of unknown age" if seconds is None else f"the oldest is {span(seconds)} old"
    details = (f"slowest partition {kafka.lag.worst:,} messages, {age}",) if total else ()
    return Evidence((total,), details=details, began_at=kafka.oldest_unread_at)


def _stalled(kafka: KafkaMeasurement, _: Condition, partitions: float | None) -> Evidence:
    members = "unknown" if kafka.members is None else kafka.members
    stalled = [f"partition {partition}: {status}" for partition, status in kafka.lag.stalled.items()]
    fault = [kafka.window_fault] if kafka.window_fault else []
    details = (f"group {kafka.group_state}, members {members}", *stalled[:MOST_PARTITIONS], *fault)
    if partitions is None:
        return Evidence(blind=f"one sample alone shows no stall: {kafka.window_fault}", details=details)
    return Evidence((partitions,), details=details, began_at=kafka.oldest_unread_at)


def _headroom(kafka: KafkaMeasurement, _: Condition, seconds: float | None) -> Evidence:
    if seconds is None and kafka.retention_seconds is not None:
        return Evidence(blind="the age of the oldest unread record is not known")
    lost = (f"{kafka.lag.lost:,} messages were deleted before they were landed",) if kafka.lag.lost else ()
    began_at = kafka.oldest_unread_at
    return Evidence((seconds,), note="the topic sets no time limit", details=lost, began_at=began_at)


def _dead_letters(measured: ArrivalsMeasurement, _: Condition, objects: float | None) -> Evidence:
    letters = measured.dead_letters
    if not objects or letters == NONE:
        return Evidence((objects,))
    classes = ", ".join(f"{name} {number:,}" for name, number in letters.rows.items())
    details = [f"rows by class: {classes}"] if classes else []
    if letters.example:
        details.append(f"newest: {letters.example}")
    details.append("list them: python -m include.ingest replay (or the DAG dead_letter_replay); --yes sends them again")
    at_least = "at least " if letters.unread else ""
    text = f"{at_least}{letters.messages:,} messages in {objects:,.0f} objects of the last hour"
    return Evidence((objects,), details=tuple(details), began_at=letters.first_at, text=text)


def _silent(measured: ArrivalsMeasurement, _: Condition, coins: float | None) -> Evidence:
    if coins is None:
        return Evidence(note="the monitor has looked once since its start")
    subjects = {
        name: Subject(coin.report(), None, coin.newest_at) for name, coin in measured.coins.items() if coin.silent
    }
    return Evidence((coins,), subjects=subjects)


def _age(layers: LayersMeasurement, condition: Condition, seconds: float | None) -> Evidence:
    layer = cast("Layer", condition.layer)
    if layer not in layers.states:
        return _unreadable(layers)
    if seconds is None:
        return Evidence(note="nothing has landed yet")
    state = layers.states[layer]
    if state is None:
        return Evidence((seconds,), details=("the layer was never built; the oldest landed object is this old",))
    newest = f", newest quote {to_second(state.newest_quote_at)}" if state.newest_quote_at else ""
    details = (f"{state.rows:,} rows{newest}, last built {to_second(state.finished_at)}",)
    return Evidence((seconds,), details=details, began_at=state.newest_quote_at)


def _unreadable(layers: LayersMeasurement) -> Evidence:
    return Evidence(blind=f"the content of {', '.join(layers.unreadable)} could not be read")


def _tests(layers: LayersMeasurement, _: Condition, failing: float | None) -> Evidence:
    if failing is None:
        return _unreadable(layers)
    ends = [state.finished_at for state in layers.states.values() if state]
    ends = ends or [other.finished_at for other in layers.other_tests]
    if not ends:
        return Evidence(note="no layer was built yet")
    # An alert that a failure callback raised stays open until every layer was built again. A test of an object that
    # cannot be read may still fail, so then no alert ends.
    return Evidence((failing,), subjects=failing_tests(layers), as_of=NEVER if layers.unreadable else min(ends))


def _quarantined(layers: LayersMeasurement, _: Condition, percent: float | None) -> Evidence:
    if "silver" not in layers.states:
        return _unreadable(layers)
    counts = _quarantine(layers)
    if counts is None or percent is None:
        return Evidence((percent,), note="silver has no count of new rows yet")
    return Evidence((percent,), details=(f"{counts.refused:,} of {counts.accepted + counts.refused:,} new rows",))


def _objectives(layers: LayersMeasurement, _: Condition, burning: float | None) -> Evidence:
    known = layers.latency.objectives
    if burning is None:
        return _unreadable(layers) if layers.unreadable else Evidence(note="no record was counted yet")
    subjects: dict[str, Subject] = {}
    for stage, objective in known.items():
        if alarm := objective.alarm:
            subjects[stage] = Subject(objective.report(alarm), alarm.rule.severity, objective.began_at)
    details = tuple(f"{stage}: {objective.line}" for stage, objective in known.items() if stage not in subjects)
    return Evidence((burning,), details=details, subjects=subjects)


def _audit_findings(audit: Audited | None) -> int | None:
    """None before the first manifest, if nothing was found either."""
    return audit.findings if audit and (audit.day or audit.findings) else None


def _audit(layers: LayersMeasurement, _: Condition, findings: float | None) -> Evidence:
    audit = layers.audit
    if audit is None and layers.unreadable:
        return _unreadable(layers)
    if findings is None and not layers.audit_due:
        return Evidence((0,), details=("no day with records has to be audited yet",))
    if audit is None:
        return Evidence(note="no audit has run yet")
    waiting = (audit.waiting,) if audit.waiting else ()
    if findings is None:
        return Evidence(note=audit.waiting or "no day with records has ended yet", details=waiting)
    ran = f"last audit {to_second(audit.at)}, of {', '.join(audit.days)}"
    more = audit.findings - len(audit.lines)
    rest = (f"{more} more findings: see the log of lakehouse_maintenance.audit",) if more > 0 else ()
    return Evidence((findings,), details=(ran, *audit.lines, *rest, *waiting), began_at=audit.at if findings else None)


def _drift(layers: LayersMeasurement, _: Condition, number: float | None) -> Evidence:
    if "bronze" not in layers.states:
        return _unreadable(layers)
    fields = _record_fields(layers)
    if fields is None or number is None:
        return Evidence(note="bronze has no list of its records' fields yet")
    subjects = {name: Subject(drift.line(field), None, field.began_at) for name, field in fields.drifting.items()}
    unlisted = (f"and {fields.unlisted:,} further fields",) if fields.unlisted else ()
    return Evidence((number,), details=unlisted, subjects=subjects)


def _undelivered(layers: LayersMeasurement, _: Condition, notices: float | None) -> Evidence:
    if notices is None:
        return Evidence(blind="the alert state in S3 could not be read")
    return Evidence((notices,), details=(layers.undelivered_error,) if layers.undelivered_error else ())


def _windows(consumer: ConsumerMeasurement, condition: Condition, _: float | None) -> Evidence:
    values = tuple(consumer.windows[str(condition.metric)])
    if condition.missing == "breaching":
        watched, learned = consumer.watched, consumer.baseline
        note = f"the monitor has watched for {watched} of {condition.periods} periods"
        details = (learned.note,) if learned else ()
        began_at = None if values[-1] else _last_landed(consumer)
        return Evidence(values[len(values) - watched :], note=note, details=details, began_at=began_at)
    return Evidence(values, note="the consumer published no value", began_at=_first_breach(consumer, condition))


def _first_breach(consumer: ConsumerMeasurement, condition: Condition) -> datetime | None:
    """The first minute of the windows in which something failed, or, of a duration, its begin; None without any."""
    metric = METRICS[str(condition.metric)]
    for at, value in consumer.minutes.get(metric.name, ()):
        if metric.unit != "Seconds" and value:
            return at
        if metric.unit == "Seconds" and condition.breached_by(value):
            return at - timedelta(seconds=value)
    return None


def _last_landed(consumer: ConsumerMeasurement) -> datetime | None:
    """The last minute in which the consumer landed a message, within the windows."""
    consumed = consumer.minutes.get(METRICS["MessagesConsumed"].name, ())
    return max((at for at, value in consumed if value), default=None)


def _dags(dags: DagsMeasurement, _: Condition, number: float | None) -> Evidence:
    subjects = {
        dag_id: Subject(
            "; ".join(problem.text for problem in problems),
            "error" if any(problem.severity == "error" for problem in problems) else "warning",
            min(problem.began_at for problem in problems),
            next((problem.run_url for problem in problems if problem.run_url), ""),
        )
        for dag_id, problems in dags.problems.items()
        if problems
    }
    return Evidence((number,), details=(dags.fault,) if dags.fault else (), subjects=subjects)


Reader = Callable[[Any, Condition, float | None], Evidence]
"""The evidence on a condition from its source's measurement and its metric's number (None: not known)."""

_READERS: dict[str, tuple[Source, Reader]] = {
    "kafka_lag": ("kafka", _lag),
    "consumer_stalled": ("kafka", _stalled),
    "retention_headroom": ("kafka", _headroom),
    "dead_letters": ("objects", _dead_letters),
    "quotes_missing": ("objects", _silent),
    "dbt_tests": ("layers", _tests),
    "quarantine_share": ("layers", _quarantined),
    "latency_objective": ("layers", _objectives),
    "audit_failed": ("layers", _audit),
    "schema_drift": ("layers", _drift),
    "notices_undelivered": ("layers", _undelivered),
    "stale_gold": ("layers", _age),
    "stale_silver": ("layers", _age),
    "stale_bronze": ("layers", _age),
    "dag_unhealthy": ("dags", _dags),
    "upload_errors": ("consumer", _windows),
    "partitions_stopped": ("consumer", _windows),
    "low_throughput": ("consumer", _windows),
    "slow_uploads": ("consumer", _windows),
}

SOURCE_OF: Mapping[str, str] = {name: source for name, (source, _) in _READERS.items()} | {"monitor_silent": "publish"}
"""Condition -> the source (a key of `SOURCE_NAMES`) without which nothing is known about the condition."""
