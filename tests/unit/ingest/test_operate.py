"""Where `adopt` goes on, and what `require_fit` refuses."""

from __future__ import annotations

import pytest

from include.ingest.operate import Landed, OperationError, decide, landed_to
from include.ingest.topic import TOPIC_CONFIG, TopicError, TopicFacts, require_fit
from include.landing.contract import NO_TOPIC_ID


def test_landed_ranges_are_followed_to_the_first_hole() -> None:
    chain = [Landed(100, 149, True), Landed(150, 199, True), Landed(300, 399, True)]
    assert landed_to(chain, None) == 200
    assert landed_to(chain, 150) == 200
    assert landed_to(chain, 250) == 250
    assert landed_to([], None) is None
    assert landed_to([Landed(0, 9, True), Landed(10, 19, False)], 0) == 10


@pytest.mark.parametrize(
    ("committed", "landed", "low", "offset", "target", "hole"),
    [
        (5, None, 0, None, 5, None),  # a foreign commit, nothing landed
        (5, None, 8, None, 8, None),
        (50, 20, 0, None, 20, None),  # landed data decide, not the commit
        (20, 20, 60, None, 60, (20, 59)),  # retention has overtaken the group
        (20, 20, 0, 30, 30, (20, 29)),  # the operator skips
    ],
)
def test_where_it_goes_on(
    committed: int, landed: int | None, low: int, offset: int | None, target: int, hole: tuple[int, int] | None
) -> None:
    plan = decide(0, committed=committed, ours=False, log=(low, 100), landed_to=landed, offset=offset)
    assert (plan.target, plan.hole) == (target, hole)


@pytest.mark.parametrize(("offset", "text"), [(19, "twice"), (101, "outside the log")])
def test_what_it_refuses(offset: int, text: str) -> None:
    with pytest.raises(OperationError, match=text):
        decide(0, committed=20, ours=True, log=(0, 100), landed_to=20, offset=offset)


def facts(topic_id: str = "id", **config: str) -> TopicFacts:
    return TopicFacts(
        "c", "quotes", topic_id, 6, {**TOPIC_CONFIG, **{n.replace("_", "."): v for n, v in config.items()}}
    )


def test_a_fit_topic_is_accepted_without_relaxing_anything() -> None:
    assert require_fit(facts(), allow_create_time=False, allow_missing_topic_id=False) == []


@pytest.mark.parametrize(
    ("found", "remedy"),
    [
        (facts(message_timestamp_type="CreateTime"), "CONSUMER_ALLOW_CREATE_TIME"),
        (TopicFacts("c", "quotes", "id", 6, None), "unknown"),
        (facts(NO_TOPIC_ID), "CONSUMER_ALLOW_MISSING_TOPIC_ID"),
        (facts(cleanup_policy="compact,delete"), "Set it to delete"),
        (facts(unclean_leader_election_enable="true"), "Set it to false"),
    ],
)
def test_an_unfit_topic_is_refused_with_its_remedy(found: TopicFacts, remedy: str) -> None:
    with pytest.raises(TopicError, match=remedy):
        require_fit(found, allow_create_time=False, allow_missing_topic_id=False)


def test_what_is_relaxed_is_said() -> None:
    relaxed = require_fit(
        TopicFacts("c", "quotes", NO_TOPIC_ID, 6, None), allow_create_time=True, allow_missing_topic_id=True
    )
    assert relaxed == ["message.timestamp.type=unknown", "no topic id"]
