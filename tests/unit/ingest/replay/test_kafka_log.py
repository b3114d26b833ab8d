"""The configuration of replay's producer."""

from __future__ import annotations

from include.ingest.replay.kafka_log import KafkaTopic
from include.ingest.replay.replay import CLAIM_TIME, LEASE, SEND_TIME
from include.settings import KafkaSettings


def test_a_message_is_sent_before_its_lease_ends() -> None:
    """KAFKA_OPTIONS cannot change that."""
    options: dict[str, str | int | float | bool] = {"delivery.timeout.ms": 900_000, "message.timeout.ms": 900_000}
    config = KafkaTopic.producer_config(KafkaSettings(options=options))
    assert {config[name] for name in options} == {60_000}
    assert CLAIM_TIME + SEND_TIME < LEASE
