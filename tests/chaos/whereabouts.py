"""Compares `python -m include.audit where` with the checker, at random offsets."""

from __future__ import annotations

import os
import random
from contextlib import closing

from confluent_kafka import Consumer

from include.audit.record_log import KafkaLog
from include.audit.where import Where
from include.ingest.store import open_store
from include.monitoring.checks.kafka_offsets import probe_config
from include.settings import load
from tests.chaos.checker import Place

MOST_REQUESTS = 3
"""To S3 for one offset."""


def compare(
    environment: dict[str, str], seed: int, places: dict[Place, tuple[str, str]], ends: dict[int, int], sample: int
) -> list[str]:
    """Ask for `sample` random offsets of the topic; returns how the answers differ from the checker's `places`.

    `places` has the kind and key of each offset by the checker. Offsets without a place are after the last record.
    """
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        settings = load()
        config = settings.kafka.client_config() | probe_config(settings.kafka.group)
        with closing(Consumer(config)) as consumer:
            log = KafkaLog(consumer, settings.kafka.topic, settings.consumer.batch_records)
            most = settings.consumer.max_message_bytes
            where = Where(open_store(settings.storage, settings.aws), settings.storage, log, None, most)
            every = [(number, offset) for number, end in ends.items() for offset in range(end)]
            chosen = random.Random(seed).sample(every, min(sample, len(every)))
            return [error for place in chosen if (error := _difference(where, place, places.get(place, ("", ""))))]
    finally:
        os.environ.clear()
        os.environ.update(before)


def _difference(where: Where, place: Place, expected: tuple[str, str]) -> str:
    answer = where.find(*place)
    if (answer.kind, answer.key) != expected:
        return f"{place}: where says {answer.kind!r} {answer.key} {answer.why}, the checker says {expected}"
    if answer.requests > MOST_REQUESTS:
        return f"{place}: where needed {answer.requests} requests to S3"
    return ""
