"""The topics that `ensure_topic` creates, and the topics that `require_fit` refuses."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from include.ingest import topic
from include.ingest.topic import TOPIC_CONFIG, TopicError, TopicFacts, require_fit
from include.landing.contract import NO_TOPIC_ID
from include.settings import KafkaSettings


class Broker:
    """Replaces `topic.Admin`. `created` has the configuration of each created topic by its name."""

    created: dict[str, dict[str, str]]

    def __init__(self, config: dict[str, Any]) -> None:
        Broker.created = {}

    def list_topics(self, timeout: float) -> SimpleNamespace:
        """As AdminClient."""
        return SimpleNamespace(cluster_id="a-cluster")

    def create_topics(self, topics: list[Any], request_timeout: float) -> dict[str, Future[None]]:
        """As AdminClient."""
        future: Future[None] = Future()
        future.set_result(None)
        Broker.created |= {new.topic: new.config for new in topics}
        return {new.topic: future for new in topics}


def test_a_topic_is_created_with_segments_of_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker's default is a week: records would live a week beyond retention, longer than bronze looks back."""
    monkeypatch.setattr(topic, "Admin", Broker)
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", topic="quotes")
    assert topic.ensure_topic(kafka, 6, 1, retention_hours=168)
    assert Broker.created == {"quotes": TOPIC_CONFIG | {"segment.ms": "86400000", "retention.ms": str(7 * 86_400_000)}}


def facts(topic_id: str = "id", **config: str) -> TopicFacts:
    changes = {name.replace("_", "."): value for name, value in config.items()}
    return TopicFacts("c", "quotes", topic_id, 6, TOPIC_CONFIG | changes)


def test_a_fit_topic_relaxes_nothing() -> None:
    assert require_fit(facts(), allow_create_time=False, allow_missing_topic_id=False) == []


@pytest.mark.parametrize(
    ("unfit", "remedy"),
    [
        (facts(message_timestamp_type="CreateTime"), "CONSUMER_ALLOW_CREATE_TIME"),
        (TopicFacts("c", "quotes", "id", 6, None), "unknown"),
        (facts(NO_TOPIC_ID), "CONSUMER_ALLOW_MISSING_TOPIC_ID"),
        (facts(cleanup_policy="compact,delete"), "Set it to delete"),
        (facts(unclean_leader_election_enable="true"), "Set it to false"),
    ],
)
def test_an_unfit_topic_is_refused_with_the_remedy(unfit: TopicFacts, remedy: str) -> None:
    with pytest.raises(TopicError, match=remedy):
        require_fit(unfit, allow_create_time=False, allow_missing_topic_id=False)


def test_relaxed_guarantees_are_named() -> None:
    unfit = TopicFacts("c", "quotes", NO_TOPIC_ID, 6, None)
    relaxed = require_fit(unfit, allow_create_time=True, allow_missing_topic_id=True)
    assert relaxed == ["message.timestamp.type=unknown", "no topic id"]
