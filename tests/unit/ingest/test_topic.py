"""The topics that `ensure_topic` creates, and the topics that `require_fit` refuses."""

from __future__ import annotations

import contextlib
import itertools
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from include.ingest import topic
from include.ingest.topic import TOPIC_CONFIG, TopicError, TopicFacts, Wanted, require_fit
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
    assert topic.ensure_topic(kafka, 6, 1, retention_hours=168) is None
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


@pytest.mark.parametrize(
    ("present", "wanted", "texts"),
    [
        (facts(), Wanted(), []),
        (facts(), Wanted(6, 1), []),
        (facts(retention_ms="3600000"), Wanted(retention_hours=1), []),
        (facts(), Wanted(partitions=7), ["partitions=6, asked for 7", "--partitions 7"]),
        (facts(), Wanted(partitions=5), ["partitions=6, asked for 5", "cannot lose partitions"]),
        (facts(), Wanted(replication=3), ["replication=1, asked for 3"]),
        (facts(retention_ms="-1"), Wanted(retention_hours=1), ["retention.ms=-1", "--add-config retention.ms=3600000"]),
        (facts(message_timestamp_type="CreateTime"), Wanted(), ["--add-config message.timestamp.type=LogAppendTime"]),
        (facts(cleanup_policy="compact"), Wanted(), ["cleanup.policy=compact", "--add-config cleanup.policy=delete"]),
        (facts(unclean_leader_election_enable="true"), Wanted(), ["unclean.leader.election.enable=true"]),
    ],
)  # fmt: skip
def test_differences_of_an_existing_topic_are_named(present: TopicFacts, wanted: Wanted, texts: list[str]) -> None:
    differences = "; ".join(wanted.differences(present, allow_create_time=False))
    assert bool(differences) == bool(texts)
    assert all(text in differences for text in texts)


def test_a_topic_that_create_topic_accepts_is_one_that_consume_accepts() -> None:
    for name, values in {
        "message.timestamp.type": ("CreateTime", "LogAppendTime"),
        "cleanup.policy": ("compact", "delete"),
        "unclean.leader.election.enable": ("true", "false"),
    }.items():
        for value, allowed in itertools.product(values, (True, False)):
            present = facts(**{name: value})
            accepted = not Wanted().differences(present, allow_create_time=allowed)
            with contextlib.nullcontext() if accepted else pytest.raises(TopicError):
                require_fit(present, allow_create_time=allowed, allow_missing_topic_id=False)


@pytest.mark.parametrize("options", [{}, {"allow.auto.create.topics": True}])
def test_no_client_may_create_a_topic(options: dict[str, bool]) -> None:
    assert KafkaSettings(options=options).client_config()["allow.auto.create.topics"] is False
