"""From the measurements of one run of the monitor: the numbers to publish, and a verdict on each condition. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from include.catalogue import CONDITIONS, Condition, Layer
from include.instants import span, to_second
from include.monitoring.checks.arrivals import mean_batch
from include.monitoring.checks.cloudwatch import Datum
from include.monitoring.checks.judge import Evidence, Verdict, judge
from include.monitoring.checks.measurements import (
    ArrivalsMeasurement,
    ConsumerMeasurement,
    KafkaMeasurement,
    LayersMeasurement,
    Measurements,
    Source,
)
from include.monitoring.checks.thresholds import FROM_HISTORY, Threshold, differing_alarms
from include.state.layer_state import QuarantineCount
from include.state.task_tests import EVERY_ROW

SOURCE_NAMES: dict[str, str] = {
    "kafka": "Kafka",
    "objects": "objects in S3",
    "layers": "layer states in S3",
    "consumer": "consumer metrics in CloudWatch",
    "publish": "publishing to CloudWatch",
    "thresholds": "thresholds",
}
"""Everything that can fail to be read or used, with its name in alerts."""
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
        }
    if layers:
        table |= {
            "FailingTests": len(failing_tests(layers)),
            "UndeliveredNotices": layers.undelivered,
            "QuarantineShare": quarantine.percent if (quarantine := _quarantine(layers)) else None,
        }
        by_layer = {"DataAge": layers.ages, "BytesScanned": _scanned_bytes(layers)}
    data = [Datum(metric, value) for metric, value in table.items() if value is not None]
    for metric, values in by_layer.items():
        data += [Datum(metric, value, layer) for layer, value in values.items() if value is not None]
    return data


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


def failing_tests(layers: LayersMeasurement) -> dict[str, str]:
    """Each failing test of the layers' last builds and of the tasks outside them, with the text of its alert.

    A test that fails both in a layer's build and in the daily run over every row counts once.
    The daily run's warnings do not count.
    """
    places = [(str(layer), state.tests) for layer, state in layers.states.items() if state]
    places += [(other.task, other.tests) for other in layers.other_tests]
    reports: dict[str, str] = {}
    for place, tests in places:
        for test in tests.failing:
            if place != EVERY_ROW or test.severity == "error":
                reports.setdefault(test.name, test.report(place))
    return reports


def verdicts(measured: Measurements, blind: Mapping[str, str], thresholds: Mapping[str, Threshold]) -> list[Verdict]:
    """The verdict on every condition that the monitor checks, in the catalogue's order."""
    known = {(datum.metric, datum.layer): datum.value for datum in numbers(measured, blind)}
    limits = dict(thresholds)
    limits["low_throughput"] = _throughput_limit(limits["low_throughput"], measured.consumer)
    differing = differing_alarms(limits, measured.consumer.alarms if measured.consumer else {})
    judged = []
    for condition in CONDITIONS.values():
        if condition.checked:
            number = known.get((str(condition.metric), condition.layer))
            if condition.name == "monitor_blind":
                evidence = Evidence((number,), subjects={SOURCE_NAMES[name]: text for name, text in blind.items()})
            else:
                evidence = _evidence(condition, measured, number)
            judged.append(judge(condition, evidence, limits[condition.name], differing.get(condition.name, "")))
    return judged


def _throughput_limit(threshold: Threshold, consumer: ConsumerMeasurement | None) -> Threshold:
    learned = consumer.baseline if consumer else None
    if learned and learned.value is not None:
        return Threshold(learned.value, FROM_HISTORY)
    return threshold


def _evidence(condition: Condition, measured: Measurements, number: float | None) -> Evidence:
    source, reader = _READERS[condition.name]
    measurement = getattr(measured, source)
    if measurement is None:
        return Evidence(blind=f"{SOURCE_NAMES[source]} could not be read")
    return reader(measurement, condition, number)


def _lag(kafka: KafkaMeasurement, _: Condition, total: float | None) -> Evidence:
    seconds = kafka.lag.seconds
    age = "of unknown age" if seconds is None else f"the oldest is {span(seconds)} old"
    return Evidence((total,), details=(f"slowest partition {kafka.lag.worst:,} messages, {age}",) if total else ())


def _stalled(kafka: KafkaMeasurement, _: Condition, partitions: float | None) -> Evidence:
    members = "unknown" if kafka.members is None else kafka.members
    stalled = [f"partition {partition}: {status}" for partition, status in kafka.lag.stalled.items()]
    fault = [kafka.window_fault] if kafka.window_fault else []
    details = (f"group {kafka.group_state}, members {members}", *stalled[:MOST_PARTITIONS], *fault)
    if partitions is None:
        return Evidence(blind=f"one sample alone shows no stall: {kafka.window_fault}", details=details)
    return Evidence((partitions,), details=details)


def _headroom(kafka: KafkaMeasurement, _: Condition, seconds: float | None) -> Evidence:
    if seconds is None and kafka.retention_seconds is not None:
        return Evidence(blind="the age of the oldest unread record is not known")
    lost = (f"{kafka.lag.lost:,} messages were deleted before they were landed",) if kafka.lag.lost else ()
    return Evidence((seconds,), note="the topic sets no time limit", details=lost)


def _dead_letters(_: ArrivalsMeasurement, __: Condition, objects: float | None) -> Evidence:
    return Evidence((objects,))


def _age(layers: LayersMeasurement, condition: Condition, seconds: float | None) -> Evidence:
    if seconds is None:
        return Evidence(note="nothing has landed yet")
    state = layers.states[cast("Layer", condition.layer)]
    if state is None:
        return Evidence((seconds,), details=("the layer was never built; the oldest landed object is this old",))
    return Evidence((seconds,), details=(f"{state.rows:,} rows, last built {to_second(state.finished_at)}",))


def _tests(layers: LayersMeasurement, _: Condition, failing: float | None) -> Evidence:
    ends = [state.finished_at for state in layers.states.values() if state]
    ends = ends or [other.finished_at for other in layers.other_tests]
    if not ends:
        return Evidence(note="no layer was built yet")
    # An alert that a failure callback raised stays open until every layer was built again.
    return Evidence((failing,), subjects=failing_tests(layers), as_of=min(ends))


def _quarantined(layers: LayersMeasurement, _: Condition, percent: float | None) -> Evidence:
    counts = _quarantine(layers)
    if counts is None or percent is None:
        return Evidence((percent,), note="silver has no count of new rows yet")
    return Evidence((percent,), details=(f"{counts.refused:,} of {counts.accepted + counts.refused:,} new rows",))


def _undelivered(layers: LayersMeasurement, _: Condition, notices: float | None) -> Evidence:
    return Evidence((notices,), details=(layers.undelivered_error,) if layers.undelivered_error else ())


def _windows(consumer: ConsumerMeasurement, condition: Condition, _: float | None) -> Evidence:
    values = tuple(consumer.windows[str(condition.metric)])
    if condition.missing == "breaching":
        watched, learned = consumer.watched, consumer.baseline
        note = f"the monitor has watched for {watched} of {condition.periods} periods"
        return Evidence(values[len(values) - watched :], note=note, details=(learned.note,) if learned else ())
    return Evidence(values, note="the consumer published no value")


Reader = Callable[[Any, Condition, float | None], Evidence]
"""The evidence on a condition from its source's measurement and its metric's number (None: not known)."""

_READERS: dict[str, tuple[Source, Reader]] = {
    "kafka_lag": ("kafka", _lag),
    "consumer_stalled": ("kafka", _stalled),
    "retention_headroom": ("kafka", _headroom),
    "dead_letters": ("objects", _dead_letters),
    "dbt_tests": ("layers", _tests),
    "quarantine_share": ("layers", _quarantined),
    "notices_undelivered": ("layers", _undelivered),
    "stale_gold": ("layers", _age),
    "stale_silver": ("layers", _age),
    "stale_bronze": ("layers", _age),
    "upload_errors": ("consumer", _windows),
    "low_throughput": ("consumer", _windows),
    "slow_uploads": ("consumer", _windows),
}

SOURCE_OF: Mapping[str, str] = {name: source for name, (source, _) in _READERS.items()} | {"monitor_silent": "publish"}
"""Condition -> the source (a key of `SOURCE_NAMES`) without which nothing is known about the condition."""
