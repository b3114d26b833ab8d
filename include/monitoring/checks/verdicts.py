"""One tick of the monitor put together: what to publish, and what to say about each condition. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from include.catalogue import CONDITIONS, LAYERS, Condition, Layer
from include.instants import from_text, span, to_text
from include.monitoring.checks.arrivals import mean_batch
from include.monitoring.checks.cloudwatch import Datum, by_layer
from include.monitoring.checks.judge import Measured, Verdict, judge
from include.monitoring.checks.thresholds import FROM_HISTORY, Threshold, differing_alarms
from include.state.task_tests import EVERY_ROW

Source = Literal["kafka", "objects", "layers", "consumer"]
SOURCES: tuple[Source, ...] = ("kafka", "objects", "layers", "consumer")
SOURCE_NAMES: dict[str, str] = {
    "kafka": "Kafka",
    "objects": "objects in S3",
    "layers": "layer states in S3",
    "consumer": "consumer metrics in CloudWatch",
    "publish": "publishing to CloudWatch",
    "thresholds": "thresholds",
}


@dataclass(frozen=True, slots=True)
class Tick:
    """What the measuring tasks returned (None: that task failed), and why what is blind is blind."""

    measured: Mapping[str, dict[str, Any] | None]
    blind: Mapping[str, str] = field(default_factory=dict)

    def get(self, source: Source) -> dict[str, Any] | None:
        """What was measured at a source."""
        return self.measured.get(source)


def data(tick: Tick) -> list[Datum]:
    """Every number that is known, for CloudWatch. What is unknown is left out."""
    found = [Datum("MonitorHeartbeat", 1), Datum("BlindSources", len(tick.blind))]
    kafka, objects, layers = tick.get("kafka"), tick.get("objects"), tick.get("layers")
    if kafka:
        found += [
            Datum("SumOffsetLag", kafka["total"]),
            Datum("MaxOffsetLag", kafka["worst"]),
            *_known("StalledPartitions", stalled_partitions(kafka)),
            *_known("EstimatedMaxTimeLag", kafka["seconds"]),
            *_known("RetentionHeadroom", kafka["headroom_seconds"]),
        ]
    if objects:
        found += [
            Datum("ObjectsLastHour", objects["objects"]),
            Datum("BytesLastHour", objects["bytes"]),
            Datum("DeadLetterObjects", objects["dead_letter_objects"]),
            *_known("BatchSizeLastHour", batch_size(tick)),
        ]
    if layers:
        found += [
            *by_layer("DataAge", layers["ages"]),
            *by_layer("BytesScanned", scanned_bytes(layers)),
            Datum("UndeliveredNotices", layers["undelivered"]),
            Datum("FailingTests", len(failing_tests(layers))),
        ]
    return found


def stalled_partitions(kafka: Mapping[str, Any]) -> int | None:
    """How many there are; None when the earlier looks are not known and this one has found none."""
    found = len(kafka["stalled"])
    return None if kafka["window_fault"] and not found else found


def scanned_bytes(layers: Mapping[str, Any]) -> dict[Layer, float | None]:
    """What each layer's last build read; None where it is not known."""
    states = {layer: layers["states"][layer] for layer in LAYERS}
    return {
        one: sum(state["scanned"].values()) if state and state["scanned"] else None for one, state in states.items()
    }


def _known(metric: str, value: float | None) -> list[Datum]:
    return [] if value is None else [Datum(metric, value)]


def batch_size(tick: Tick) -> float | None:
    """Mean offsets an object of the last hour, from object counts, first offsets and commits."""
    objects, kafka = tick.get("objects"), tick.get("kafka")
    if not objects:
        return None
    committed = kafka["committed"] if kafka else {}
    firsts = {
        int(partition): _evenly(count, first, last) for partition, (count, first, last) in objects["spans"].items()
    }
    return mean_batch(firsts, {int(partition): offset for partition, offset in committed.items()})


def _evenly(count: int, first: int, last: int) -> list[int]:
    """A list of `count` first offsets with these ends: the mean asks for the ends and the count only."""
    return [first] * (count - 1) + [last]


def failing_tests(layers: Mapping[str, Any]) -> dict[str, str]:
    """Each failing test of the layers' last builds and of the tasks outside them, with a line about it and some rows.

    A test that a layer's build and the daily run over every row both found is one test; of the latter, errors count.
    """
    places = [(layer, state["tests"]) for layer, state in layers["states"].items() if state]
    places += [(one["task"], one["tests"]) for one in layers["other_tests"]]
    found: dict[str, str] = {}
    for place, tests in places:
        for test in tests["failing"]:
            if place == EVERY_ROW and test["severity"] == "warn":
                continue
            since = f", since {_second(test['since'])}" if test["since"] else ""
            facts = f"{place} ({test['severity']}), {test['failures']} failing rows{since}"
            rows = f"\nsample rows:\n{test['rows']}" if test.get("rows") else ""
            found.setdefault(test["name"], f"{facts}: {test['message']}{rows}")
    return found


def _second(moment: str) -> str:
    """An instant without its microseconds."""
    return to_text(from_text(moment).replace(microsecond=0))


def verdicts(tick: Tick, thresholds: Mapping[str, Threshold]) -> list[Verdict]:
    """The verdict on every condition that the monitor checks, in the catalogue's order."""
    consumer = tick.get("consumer")
    limits = dict(thresholds)
    limits["low_throughput"] = _throughput_limit(limits["low_throughput"], consumer)
    differing = differing_alarms(limits, consumer["alarms"] if consumer else {})
    found = []
    for condition in CONDITIONS.values():
        if condition.checked:
            measured = _blind(tick.blind) if condition.name == "monitor_blind" else _measured(condition, tick)
            found.append(judge(condition, measured, limits[condition.name], differing.get(condition.name, "")))
    return found


def _throughput_limit(threshold: Threshold, consumer: Mapping[str, Any] | None) -> Threshold:
    learned = consumer["baseline"] if consumer else None
    if learned and learned["value"] is not None:
        return Threshold(learned["value"], FROM_HISTORY)
    return threshold


def _blind(blind: Mapping[str, str]) -> Measured:
    return Measured((float(len(blind)),), subjects={SOURCE_NAMES[name]: text for name, text in blind.items()})


Reader = Callable[[Condition, dict[str, Any]], Measured]


def _measured(condition: Condition, tick: Tick) -> Measured:
    source, reader = _READERS[condition.name]
    content = tick.get(source)
    if content is None:
        return Measured(blind=f"{SOURCE_NAMES[source]} could not be read")
    return reader(condition, content)


def _lag(_: Condition, kafka: dict[str, Any]) -> Measured:
    seconds = kafka["seconds"]
    age = "of unknown age" if seconds is None else f"the oldest is {span(seconds)} old"
    details = (f"slowest partition {kafka['worst']:,} messages, {age}",) if kafka["total"] else ()
    return Measured((float(kafka["total"]),), details=details)


def _stalled(_: Condition, kafka: dict[str, Any]) -> Measured:
    members = "unknown" if kafka["members"] is None else kafka["members"]
    named = [f"partition {partition}: {status}" for partition, status in kafka["stalled"].items()]
    note = [kafka["window_fault"]] if kafka["window_fault"] else []
    details = (f"group {kafka['group_state']}, members {members}", *named[:20], *note)
    number = stalled_partitions(kafka)
    if number is None:
        return Measured(blind=f"one look alone tells nothing: {kafka['window_fault']}", details=details)
    return Measured((float(number),), details=details)


def _headroom(_: Condition, kafka: dict[str, Any]) -> Measured:
    lost = (f"{kafka['lost']:,} messages were deleted before they were landed",) if kafka["lost"] else ()
    if kafka["headroom_seconds"] is None and kafka["retention_seconds"] is not None:
        return Measured(blind="the age of the oldest unread record is not known")
    return Measured((kafka["headroom_seconds"],), note="the topic sets no time limit", details=lost)


def _dead_letters(_: Condition, objects: dict[str, Any]) -> Measured:
    return Measured((float(objects["dead_letter_objects"]),))


def _age(condition: Condition, layers: dict[str, Any]) -> Measured:
    layer = cast("str", condition.layer)
    state, age = layers["states"][layer], layers["ages"][layer]
    if age is None:
        return Measured(note="nothing has landed yet")
    if state is None:
        return Measured((age,), details=("the layer was never built; the oldest landed object is this old",))
    details = (f"{state['rows']:,} rows, last built {_second(state['finished_at'])}",)
    return Measured((age,), details=details)


def _tests(_: Condition, layers: dict[str, Any]) -> Measured:
    states = [layers["states"][layer] for layer in LAYERS]
    built = [state for state in states if state] or layers["other_tests"]
    if not built:
        return Measured(note="no layer was built yet")
    failing = failing_tests(layers)
    # Until every layer was built again, an alert that a failure callback raised is not refuted.
    oldest = min(from_text(state["finished_at"]) for state in built)
    return Measured((float(len(failing)),), subjects=failing, as_of=oldest)


def _undelivered(_: Condition, layers: dict[str, Any]) -> Measured:
    details = (layers["undelivered_error"],) if layers["undelivered_error"] else ()
    return Measured((float(layers["undelivered"]),), details=details)


def _windows(condition: Condition, consumer: dict[str, Any]) -> Measured:
    values = consumer["windows"][cast("str", condition.metric)]
    if condition.missing == "breaching":
        watched = consumer["watched"]
        learned = consumer["baseline"]
        note = f"the monitor has watched for {watched} of {condition.periods} periods"
        details = (learned["note"],) if learned else ()
        return Measured(tuple(values[len(values) - watched :]), note=note, details=details)
    return Measured(tuple(values), note="the consumer published none")


_READERS: dict[str, tuple[Source, Reader]] = {
    "kafka_lag": ("kafka", _lag),
    "consumer_stalled": ("kafka", _stalled),
    "retention_headroom": ("kafka", _headroom),
    "dead_letters": ("objects", _dead_letters),
    "dbt_tests": ("layers", _tests),
    "notices_undelivered": ("layers", _undelivered),
    "stale_gold": ("layers", _age),
    "stale_silver": ("layers", _age),
    "stale_bronze": ("layers", _age),
    "upload_errors": ("consumer", _windows),
    "low_throughput": ("consumer", _windows),
    "slow_uploads": ("consumer", _windows),
}

SOURCE_OF: Mapping[str, str] = {name: source for name, (source, _) in _READERS.items()} | {"monitor_silent": "publish"}
"""By condition the source, of `SOURCE_NAMES`, without which nothing is known about it."""
