"""Makes a consumer with its clients, from the settings."""

from __future__ import annotations

import os
import socket
from typing import Any

from confluent_kafka import Consumer as KafkaConsumer
from obstore.store import S3Store

from include.ingest import topic
from include.ingest.commit_check import CommitCheck
from include.ingest.consumer import Consumer
from include.ingest.log_ends import LogEnds
from include.ingest.logs import LIBRDKAFKA
from include.ingest.metrics import ConsumerMetrics
from include.ingest.placement import Placement
from include.ingest.reading import queue_config
from include.ingest.shutdown import Deadline
from include.ingest.sink import Destination, Sink
from include.ingest.watchdog import Watchdog
from include.landing.codec import CODECS
from include.settings import SET_BY_BROKERS, Settings

SESSION_TIMEOUT_MS = 30_000
"""With `group.protocol=consumer` the session is the brokers' (45 s, `group.consumer.session.timeout.ms`). Ours must not
be longer, because a consumer that was silent for longer throws away what it has read."""
STATISTICS_MS = 5000
"""How often librdkafka reports its connection to the group's coordinator. Only this report is reliable: an error event
says that something failed, but no event says that it works again."""

MEMBERS_ONLY = ("group.instance.id", "statistics.interval.ms")
"""Settings that a client without membership does not have."""


def kafka_config(settings: Settings) -> dict[str, Any]:
    """Settings of librdkafka: our defaults, then KAFKA_OPTIONS, then the settings that the protocol needs."""
    config: dict[str, Any] = {
        "client.id": f"landing-{socket.gethostname()}",
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        "max.poll.interval.ms": 300_000,
        "isolation.level": "read_committed",
        "fetch.queue.backoff.ms": 5,  # the default of 1000 stalls a consumer whose queue was full
        "statistics.interval.ms": STATISTICS_MS,
    } | queue_config(settings.consumer.max_buffer_bytes)
    config |= settings.kafka.client_config()
    if settings.consumer.group_instance_id:
        config["group.instance.id"] = settings.consumer.group_instance_id
    config |= {
        "group.id": settings.kafka.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,  # shows where the log ends if its last offsets have no record
        "partition.assignment.strategy": "cooperative-sticky",
    }
    if config.get("group.protocol") == "consumer":  # its assignment is always cooperative
        return {name: value for name, value in config.items() if name not in SET_BY_BROKERS}
    return config


def build_consumer(
    settings: Settings, store: S3Store, control: S3Store, metrics: ConsumerMetrics, deadline: Deadline
) -> Consumer:
    """A consumer for the prefix's contract. `control` is the bucket with a short timeout, for the consumer's loop.

    `deadline` bounds its shutdown.

    Raises:
        ContractError, TopicError, obstore.exceptions.BaseError: see `Placement.open`.
    """
    config = kafka_config(settings)
    kafka, consumer, storage = settings.kafka, settings.consumer, settings.storage
    watchdog = Watchdog(float(settings.kafka.options.get("session.timeout.ms", SESSION_TIMEOUT_MS)) / 1000)
    admin, isolation = topic.Admin(kafka.client_config()), str(config["isolation.level"])
    probe = {name: value for name, value in config.items() if name not in MEMBERS_ONLY}
    placement = Placement(
        kafka, consumer, storage, isolation, admin,
        lambda: topic.connected(KafkaConsumer, probe | {"logger": LIBRDKAFKA}), control, metrics, watchdog,
    )  # fmt: skip
    contract = placement.open()
    codec, writer = CODECS[contract.suffix], f"{socket.gethostname()}:{os.getpid()}"
    destination = Destination(storage.data_prefix, storage.dead_letter_prefix, contract, codec, writer)
    sink = Sink(store, destination, metrics, consumer.parallel_puts, consumer.put_timeout_seconds)
    return Consumer(
        kafka, consumer, lambda callbacks: topic.connected(KafkaConsumer, config | callbacks | {"logger": LIBRDKAFKA}),
        placement, sink, codec, metrics, watchdog, deadline, LogEnds(admin, kafka.topic),
        commit_check=CommitCheck(store, storage, contract.topic_id),
    )  # fmt: skip
