"""What `ensure_topic` asks Kafka for."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from include.ingest import topic
from include.settings import KafkaSettings


class Broker:
    """Stands in for `topic.Admin`; `created` is the configuration of the topics it was told to create, by name."""

    created: dict[str, dict[str, str]]

    def __init__(self, config: dict[str, Any]) -> None:
        Broker.created = {}

    def list_topics(self, timeout: float) -> SimpleNamespace:
        """As AdminClient."""
        return SimpleNamespace(cluster_id="a-cluster")

    def create_topics(self, topics: list[Any], request_timeout: float) -> dict[str, Future[None]]:
        """As AdminClient."""
        done: Future[None] = Future()
        done.set_result(None)
        Broker.created |= {one.topic: one.config for one in topics}
        return {one.topic: done for one in topics}


def test_a_topic_is_created_for_landing_with_segments_of_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the broker's segments of a week, records live a week beyond retention: longer than bronze looks back."""
    monkeypatch.setattr(topic, "Admin", Broker)
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", topic="quotes")
    assert topic.ensure_topic(kafka, 6, 1, retention_hours=168)
    assert Broker.created == {
        "quotes": topic.TOPIC_CONFIG | {"segment.ms": "86400000", "retention.ms": str(7 * 86_400_000)}
    }
