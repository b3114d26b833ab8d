"""Twelve things that break, with the cause that the mail must name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from include.local import faults
from include.local.status import TRANSFORM
from tests.chaos.proxy import CALM, Weather
from tests.incidents.scene import BATCH_SECONDS, POLL_SECONDS, REPLAY, SLOW_PUT_SECONDS, Scene, after
from tests.scheduler.watched_stack import UPLOADS_FAIL

GRACE = 24
"""An empty group is a fault after these seconds (short_times/)."""
SESSION = 45
"""Kafka takes a consumer for dead after these seconds without a sign of it (`session.timeout.ms`)."""
WHOLE_MINUTE = 65
"""CloudWatch's minute with the first number is over, and settled, at the latest after these seconds."""
MONITOR_SILENT = 3 * 120
"""The monitor is silent after three of its intervals (short_times/)."""
SILENT = 3 * POLL_SECONDS + BATCH_SECONDS
"""A coin is silent after these seconds: three intervals of the producer, and the wait in the consumer."""


@dataclass(frozen=True, slots=True)
class Broken:
    """When something broke, and when the pipeline could know it at the earliest, by its settings."""

    at: datetime
    evidence_at: datetime


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. `cause` is the key of the alert that the first mail must name."""

    name: str
    cause: str
    break_it: Callable[[Scene], Broken]
    mend: Callable[[Scene], None]
    note: Callable[[Scene], str] = lambda _: ""


def _from_now(seconds: float) -> Broken:
    return Broken(datetime.now(UTC), after(seconds))


def _kill_consumer(scene: Scene) -> Broken:
    scene.kill("consumer")
    return _from_now(GRACE)


def _start_consumer(scene: Scene) -> None:
    scene.watched.start("consumer")


def _freeze(program: str, seconds: float) -> Callable[[Scene], Broken]:
    def freeze(scene: Scene) -> Broken:
        scene.watched.stack.demo.control.suspend(program)
        return _from_now(seconds)

    return freeze


def _resume(program: str) -> Callable[[Scene], None]:
    return lambda scene: scene.watched.stack.demo.control.resume(program)


def _uploads_meet(weather: Weather, seconds: float) -> Callable[[Scene], Broken]:
    def change(scene: Scene) -> Broken:
        scene.watched.uploads.weather = weather
        return _from_now(seconds)

    return change


def _uploads_work(scene: Scene) -> None:
    scene.watched.uploads.weather = CALM


def _stop_kafka(scene: Scene) -> Broken:
    broken = _from_now(0)
    scene.watched.stop("broker")
    return broken


def _start_kafka(scene: Scene) -> None:
    scene.watched.start("broker")
    scene.watched.wait_for_kafka()


def _stop_second_broker(scene: Scene) -> Broken:
    broken = _from_now(0)
    scene.second_broker.stop()
    return broken


def _send_bad_data(scene: Scene) -> Broken:
    faults.cause(scene.watched.stack.demo, "data")
    return _from_now(BATCH_SECONDS)


def _fix(scene: Scene) -> None:
    faults.fix(scene.watched.stack.demo)


def _fail_a_test(scene: Scene) -> Broken:
    """The alert begins when the task has failed after its retries."""
    api = scene.watched.stack.api
    faults.cause(scene.watched.stack.demo, "tests")
    at, run = datetime.now(UTC), api.trigger(TRANSFORM)
    task = "gold.crypto_curated_model_build"
    scene.until(lambda: api.task_states(TRANSFORM, run).get(task) == "failed", 420)
    return Broken(at, datetime.now(UTC))


def _repair_gold(scene: Scene) -> None:
    _fix(scene)
    scene.watched.stack.run_dag(TRANSFORM)


def _kill_scheduler(scene: Scene) -> Broken:
    scene.kill("airflow-scheduler")
    return _from_now(MONITOR_SILENT)


def _mail_server_away(scene: Scene) -> Broken:
    """The consumer is killed while the mail server is away; the time counts from its return."""
    watched = scene.watched
    watched.stop("mailbox")
    scene.kill("consumer")
    scene.until(lambda: any(notice["last_error"] for notice in watched.alert_state()["outbox"]), 240)
    watched.start("mailbox")
    return _from_now(0)


def _kill_a_worker(scene: Scene) -> Broken:
    api = scene.watched.stack.api
    run = api.trigger(REPLAY)
    scene.watched.kill(REPLAY, run)
    at = datetime.now(UTC)
    scene.until(lambda: api.run(REPLAY, run).state == "failed", 180)
    return Broken(at, datetime.now(UTC))


def _replay_again(scene: Scene) -> None:
    scene.watched.stack.run_dag(REPLAY)


SLOW = Weather(slow=1.0, methods=frozenset({"PUT"}), slow_seconds=SLOW_PUT_SECONDS)

INCIDENTS = (
    # First: a transform more than 20 minutes after the one before would also bring `latency_objective`.
    Incident("a failing dbt test", "dbt_tests:crypto_curated_accepted_symbols", _fail_a_test, _repair_gold),
    Incident("consumer killed", "consumer_stalled", _kill_consumer, _start_consumer),
    Incident("consumer hung", "consumer_stalled", _freeze("consumer", SESSION), _resume("consumer")),
    # In this order: slow uploads soon after failed ones are taken for the retried uploads, and mailed later.
    Incident("S3 slow", "slow_uploads", _uploads_meet(SLOW, WHOLE_MINUTE + SLOW_PUT_SECONDS), _uploads_work),
    Incident("S3 503", "upload_errors", _uploads_meet(UPLOADS_FAIL, WHOLE_MINUTE), _uploads_work),
    Incident("Kafka away", "monitor_blind:Kafka", _stop_kafka, _start_kafka),
    Incident(
        "one partition's leader away",
        "monitor_blind:Kafka",
        _stop_second_broker,
        lambda scene: scene.second_broker.start(),
    ),
    Incident("producer frozen", "quotes_missing", _freeze("producer", SILENT), _resume("producer")),
    Incident("bad data", "dead_letters", _send_bad_data, _fix),
    Incident(
        "scheduler dead",
        "monitor_silent",
        _kill_scheduler,
        lambda scene: scene.watched.start("airflow-scheduler"),
        lambda _: "no run of the monitor for three of its intervals is the evidence",
    ),
    Incident(
        "mail server away",
        "consumer_stalled",
        _mail_server_away,
        _start_consumer,
        lambda _: "from the server's return; the consumer was killed meanwhile",
    ),
    Incident("a worker's process killed", f"dag_unhealthy:{REPLAY}", _kill_a_worker, _replay_again),
)
