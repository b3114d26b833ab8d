"""One look at each source, as JSON-ready dictionaries: what the monitor's measuring tasks return.

Every function takes its client and the time, and raises when its source cannot be read:
unknown is not zero.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from include.catalogue import CONDITIONS, CONSUMER_METRICS, METRICS, MONITOR_SECONDS, alarm_name
from include.instants import to_text
from include.monitoring.alerts import transitions as alert_rules
from include.monitoring.alerts.store import AlertStore
from include.monitoring.checks import arrivals as objects
from include.monitoring.checks import baseline, cloudwatch, freshness, kafka_offsets, lag, lag_window
from include.monitoring.checks.lag_window import LagWindow
from include.settings import Settings, StorageSettings
from include.state import json_object, layer_state, task_tests

if TYPE_CHECKING:
    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

SHORTEST_GRACE = timedelta(minutes=2)
UNREAD_MEMORY = objects.HOUR + lag.TICK
"""How long looks at the oldest unread record are kept: an hour, and a tick that came late."""
PERIOD = timedelta(minutes=1)
SETTLE = timedelta(minutes=1)
"""CloudWatch needs a moment to have all of a minute's data."""
WINDOW = timedelta(seconds=MONITOR_SECONDS)
WINDOWS = max(one.periods for one in CONDITIONS.values())


def kafka(admin: AdminClient, looker: Consumer, s3: S3Client, settings: Settings, now: datetime) -> dict[str, Any]:
    """Lag, statuses and retention headroom; moves the lag window in S3 on.

    When only the window cannot be read or written, the lag is still measured, with what one
    look can tell, and `window_fault` says so.
    """
    reading = kafka_offsets.read(admin, looker, settings.kafka.topic, settings.kafka.group)
    kept, fault = _read_window(s3, settings.storage)
    before = kept or LagWindow()
    grace = max(SHORTEST_GRACE, timedelta(seconds=2 * settings.consumer.batch_age_seconds))
    window = lag.extend(before.samples, reading.partitions, now, grace)
    found = lag.summary(reading.partitions, window, reading.members, reading.retention, now, grace)
    oldest = now if found.seconds is None else now - timedelta(seconds=found.seconds)
    unread = [(at, since) for at, since in before.unread if now - UNREAD_MEMORY <= at < now]
    not_written = ""
    if kept is not None:  # else what S3 did not give us would be replaced by this one look
        not_written = _write_window(s3, settings.storage, LagWindow(window, [*unread, (now, oldest)]))
    for one in reading.partitions:
        log.info(
            "partition=%d status=%s lag=%d committed=%s earliest=%d latest=%d",
            one.partition,
            found.statuses[one.partition],
            one.lag,
            one.committed,
            one.earliest,
            one.latest,
        )
    return {
        "total": found.total,
        "worst": found.worst,
        "seconds": found.seconds,
        "headroom_seconds": found.headroom_seconds,
        "retention_seconds": reading.retention.total_seconds() if reading.retention else None,
        "stalled": {str(partition): str(found.statuses[partition]) for partition in found.stalled},
        "statuses": {str(partition): str(status) for partition, status in found.statuses.items()},
        "lost": found.lost,
        "members": reading.members,
        "group_state": reading.group_state,
        "committed": {str(one.partition): one.committed for one in reading.partitions},
        "window_fault": fault or not_written,
        "at": to_text(now),
    }


def _read_window(s3: S3Client, storage: StorageSettings) -> tuple[LagWindow | None, str]:
    """The window, and the reason when it could not be used: a broken one counts as empty, None is one not read."""
    try:
        return lag_window.read(s3, storage), ""
    except json_object.StateUnreadableError as error:
        log.warning("lag window not usable, it is begun anew and statuses rest on one look: %s", error)
        return LagWindow(), f"the lag window cannot be read: {error}"
    except (ClientError, BotoCoreError) as error:
        log.warning("lag window not readable, statuses rest on one look: %s", error)
        return None, f"the lag window cannot be read: {error}"


def _write_window(s3: S3Client, storage: StorageSettings, window: LagWindow) -> str:
    try:
        lag_window.write(s3, storage, window)
    except (ClientError, BotoCoreError) as error:
        log.warning("lag window not written: %s", error)
        return f"the lag window cannot be written: {error}"
    return ""


def landed(s3: S3Client, settings: Settings, now: datetime) -> dict[str, Any]:
    """Data objects and dead letters that arrived in the last hour.

    `spans` holds for each partition how many objects came and the first offsets of the
    first and the last of them: with the commit that gives the mean batch.
    """
    storage, since = settings.storage, now - objects.HOUR
    window, _ = _read_window(s3, storage)
    begin = objects.listing_start([oldest for _, oldest in window.unread] if window else [], now)
    data = objects.arrivals(s3, storage.bucket, storage.data_prefix, "crypto_data", begin, since)
    dead = objects.arrivals(s3, storage.bucket, storage.dead_letter_prefix, "dead_letter", begin, since)
    return {
        "objects": data.objects,
        "bytes": data.bytes,
        "listed": data.listed + dead.listed,
        "dead_letter_objects": dead.objects,
        "dead_letter_bytes": dead.bytes,
        "spans": {str(p): [len(firsts), firsts[0], firsts[-1]] for p, firsts in data.first_offsets.items()},
        "listed_from": to_text(begin),
        "at": to_text(now),
    }


def layers(s3: S3Client, store: AlertStore, settings: Settings, now: datetime) -> dict[str, Any]:
    """The layers' states with the age of their data, the tests outside them, and the notices not delivered yet."""
    states = layer_state.read_all(s3, settings.storage)
    first = objects.first_landed(s3, settings.storage.bucket, settings.storage.data_prefix)
    state, _ = store.load()
    return {
        "states": {layer: found.to_json() if found else None for layer, found in states.items()},
        "other_tests": [found.to_json() for found in task_tests.read_all(s3, settings.storage)],
        "ages": freshness.data_ages(states, first, now),
        "first_landed": to_text(first) if first else None,
        "undelivered": len(alert_rules.undelivered(state, now)),
        "undelivered_error": next((notice.last_error for notice in state.outbox if notice.last_error), ""),
        "at": to_text(now),
    }


def consumer(client: CloudWatchClient, settings: Settings, now: datetime) -> dict[str, Any]:
    """The consumer's metrics read back from CloudWatch in windows of one tick, and the alarms' thresholds.

    `watched` is for how many of the windows, up to now without a break, the monitor's own
    heartbeat is there: a window before that says nothing about the consumer.
    """
    where = (client, settings.monitor.namespace, settings.monitor.environment)
    end = (now - SETTLE).replace(second=0, microsecond=0)
    heartbeat = METRICS["MonitorHeartbeat"]
    asked = (*CONSUMER_METRICS, heartbeat)
    series = cloudwatch.read(*where, asked, end - WINDOW * WINDOWS, end, PERIOD)
    found = {one.name: cloudwatch.windows(series[one.name], one.statistic, end, WINDOW, WINDOWS) for one in asked}
    watched = 0
    for value in reversed(found.pop(heartbeat.name)):
        if not value:
            break
        watched += 1
    environment = settings.monitor.environment
    names = {alarm_name(one, environment): one.name for one in CONDITIONS.values() if one.alarm}
    alarms = cloudwatch.alarm_thresholds(client, list(names))
    learned = None
    if settings.monitor.throughput_baseline == "learned":
        learned = baseline.read(client, settings.monitor, now)
    return {
        "windows": found,
        "watched": watched,
        "alarms": {names[name]: threshold for name, threshold in alarms.items() if name in names},
        "baseline": None if learned is None else {"value": learned.value, "note": learned.note},
        "at": to_text(now),
    }
