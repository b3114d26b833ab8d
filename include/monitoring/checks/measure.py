"""One measurement of each source: the work of the monitor's measuring tasks.

Every function takes its client and the time, and raises when its source cannot be read:
unknown is not zero.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from include import assets
from include.catalogue import CONDITIONS, CONSUMER_METRICS, METRICS, alarm_name
from include.monitoring.checks import (
    arrivals,
    baseline,
    cloudwatch,
    coin_quotes,
    coins,
    dead_letters,
    freshness,
    kafka_offsets,
    lag,
    lag_window,
    latency,
)
from include.monitoring.checks.arrivals import Arrivals
from include.monitoring.checks.coins import CoinArrival, Pace
from include.monitoring.checks.lag import INTERVAL, JITTER
from include.monitoring.checks.lag_window import LagWindow
from include.monitoring.checks.measurements import (
    ArrivalsMeasurement,
    ConsumerMeasurement,
    KafkaMeasurement,
    LayersMeasurement,
)
from include.reasons import reason_of
from include.settings import Settings, StorageSettings
from include.state import audited, json_object, layer_state, task_tests
from include.state import latency as latency_state

if TYPE_CHECKING:
    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

SHORTEST_GRACE = timedelta(minutes=2)
UNREAD_MEMORY = arrivals.HOUR + INTERVAL + JITTER
"""Samples of the oldest unread record are kept for this time: an hour, and a run of the monitor that came late."""
PERIOD = timedelta(minutes=1)
SETTLE = timedelta(minutes=1)
"""CloudWatch needs a moment to have all of a minute's data."""
WINDOW = INTERVAL
WINDOWS = max(condition.periods for condition in CONDITIONS.values())


def kafka(admin: AdminClient, probe: Consumer, s3: S3Client, settings: Settings, now: datetime) -> KafkaMeasurement:
    """Lag, statuses and retention headroom; adds the present sample to the lag window in S3.

    When only the window cannot be read or written, the lag is still measured with one sample,
    and `window_fault` has the reason.
    """
    reading = kafka_offsets.read(admin, probe, settings.kafka.topic, settings.kafka.group)
    stored, fault = _read_window(s3, settings.storage)
    before = stored or lag_window.EMPTY
    grace = max(SHORTEST_GRACE, timedelta(seconds=2 * settings.consumer.batch_age_seconds))
    window = lag.extend(before.samples, reading.partitions, now, grace)
    summary = lag.summary(reading.partitions, window, reading.members, reading.retention, now, grace)
    oldest = now if summary.seconds is None else now - timedelta(seconds=summary.seconds)
    unread = [(at, since) for at, since in before.unread if now - UNREAD_MEMORY <= at < now]
    if stored:  # a window that S3 did not return must not be replaced by this one sample
        not_written = _write_window(s3, settings.storage, LagWindow(window, [*unread, (now, oldest)]))
        fault = fault or not_written
    for partition in reading.partitions:
        log.info(
            "partition=%d status=%s lag=%d committed=%s earliest=%d latest=%d",
            partition.partition,
            summary.statuses[partition.partition],
            partition.lag,
            partition.committed,
            partition.earliest,
            partition.latest,
        )
    return KafkaMeasurement(
        lag=summary,
        members=reading.members,
        group_state=reading.group_state,
        retention_seconds=reading.retention.total_seconds() if reading.retention else None,
        committed={partition.partition: partition.committed for partition in reading.partitions},
        window_fault=fault,
        oldest_unread_at=None if not summary.total or summary.seconds is None else oldest,
    )


def _read_window(s3: S3Client, storage: StorageSettings) -> tuple[LagWindow | None, str]:
    """The window, and the reason when it cannot be used. It is empty if it is broken, None if S3 did not return it."""
    try:
        return lag_window.read(s3, storage), ""
    except json_object.StateUnreadableError as error:
        log.warning("the lag window is broken, so it begins again and statuses come from one sample: %s", error)
        return lag_window.EMPTY, f"the lag window cannot be read: {error}"
    except (ClientError, BotoCoreError) as error:
        log.warning("the lag window cannot be read, so statuses come from one sample: %s", error)
        return None, f"the lag window cannot be read: {reason_of(error)}"


def _write_window(s3: S3Client, storage: StorageSettings, window: LagWindow) -> str:
    try:
        lag_window.write(s3, storage, window)
    except (ClientError, BotoCoreError) as error:
        log.warning("the lag window was not written: %s", error)
        return f"the lag window cannot be written: {reason_of(error)}"
    return ""


def landed(s3: S3Client, settings: Settings, now: datetime) -> ArrivalsMeasurement:
    """Data objects and dead letters that arrived in the last hour."""
    storage, since = settings.storage, now - arrivals.HOUR
    arrivals.check_prefixes(s3, storage)
    window, _ = _read_window(s3, storage)
    begin = arrivals.listing_start([oldest for _, oldest in window.unread] if window else [], now)
    data = arrivals.count(s3, storage.bucket, storage.data_prefix, "crypto_data", begin, since)
    dead = arrivals.count(s3, storage.bucket, storage.dead_letter_prefix, "dead_letter", begin, since)
    dead_objects = [item for items in dead.kept.values() for item in items]
    return ArrivalsMeasurement(
        objects=data.objects,
        bytes=data.bytes,
        dead_letter_objects=dead.objects,
        spans=data.spans,
        listed=data.listed + dead.listed,
        listed_from=begin,
        measured_at=now,
        newest_at=data.newest_at,
        dead_letters=dead_letters.read(s3, storage.bucket, dead_objects),
        coins=_coins(s3, settings, data, now),
    )


def _coins(s3: S3Client, settings: Settings, data: Arrivals, now: datetime) -> dict[str, CoinArrival]:
    """The silence of each coin; adds this look to what is known about them."""
    quotes = coin_quotes.read(s3, settings.storage.bucket, data.kept)
    symbols = [coin.symbol.upper() for coin in assets.coins()]
    pace = Pace(settings.producer.poll_seconds, settings.consumer.batch_age_seconds)
    watched = coins.watch(coin_quotes.known(s3, settings.storage), quotes, symbols, now, pace)
    coin_quotes.keep(s3, settings.storage, watched)
    return coins.arrivals(watched, settings.monitor.quote_interval_seconds, pace)


def layers(
    s3: S3Client, settings: Settings, undelivered: int | None, undelivered_error: str, now: datetime
) -> LayersMeasurement:
    """The layers' states with the age of their data, the tests outside the layers, and the latency objectives.

    The caller reads `undelivered` and `undelivered_error` from the alert state, because checks do not use alerts.
    """
    storage, unreadable = settings.storage, dict[str, str]()
    states = layer_state.read_all(s3, storage, unreadable)
    stages = latency_state.read_stages(s3, storage, unreadable)
    audit = None
    with json_object.noting(unreadable, audited.key(storage)):
        audit = audited.read(s3, storage)
    first = arrivals.first_landed(s3, storage.bucket, storage.data_prefix)
    return LayersMeasurement(
        states=states,
        other_tests=task_tests.read_all(s3, storage, unreadable),
        ages=freshness.data_ages(states, first, now),
        undelivered=undelivered,
        undelivered_error=undelivered_error,
        unreadable=unreadable,
        latency=latency.measure(s3, storage, settings.objective, stages, now),
        audit=audit,
    )


def consumer(client: CloudWatchClient, settings: Settings, now: datetime) -> ConsumerMeasurement:
    """The consumer's metrics read back from CloudWatch in windows of one interval, and the alarms' thresholds."""
    namespace, environment = settings.monitor.namespace, settings.monitor.environment
    end = (now - SETTLE).replace(second=0, microsecond=0)
    heartbeat = METRICS["MonitorHeartbeat"]
    metrics = (*CONSUMER_METRICS, heartbeat)
    series = cloudwatch.read(client, namespace, environment, metrics, end - WINDOW * WINDOWS, end, PERIOD)
    windows = {
        metric.name: cloudwatch.windows(series[metric.name], metric.statistic, end, WINDOW, WINDOWS)
        for metric in metrics
    }
    heartbeats = windows.pop(heartbeat.name)
    silent = [age for age, value in enumerate(reversed(heartbeats)) if not value]
    names = {condition.name: alarm_name(condition, environment) for condition in CONDITIONS.values() if condition.alarm}
    alarms = cloudwatch.alarm_thresholds(client, list(names.values()))
    learned = settings.monitor.throughput_baseline == "learned"
    return ConsumerMeasurement(
        windows=windows,
        watched=min(silent, default=len(heartbeats)),
        alarms={condition: alarms[name] for condition, name in names.items() if name in alarms},
        baseline=baseline.read(client, settings.monitor, now) if learned else None,
        minutes={metric.name: series[metric.name] for metric in CONSUMER_METRICS},
    )
