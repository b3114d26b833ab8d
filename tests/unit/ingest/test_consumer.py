"""What the consumer's loop makes of a Kafka that does not answer, of rebalances and of signals.

The client is a stand-in: no broker loads its groups, moves a leader or refuses a commit at the moment a test wants.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any
from unittest.mock import MagicMock

import obstore
import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from obstore.exceptions import GenericError
from structlog.testing import capture_logs

from include.ingest import consumer as module
from include.ingest import health, topic
from include.ingest.consumer import EXIT_CLEAN, EXIT_UNLANDED, Consumer, RefusedError
from include.ingest.metrics import ConsumerMetrics
from include.ingest.starting_offset import commit_mark
from include.landing.layout import object_key
from include.landing.metadata import ObjectMetadata
from include.settings import load
from tests.servers import free_port
from tests.unit.ingest.memory_bucket import Bucket
from tests.unit.ingest.test_quote import message as value

MARK = commit_mark("id")
LOADS = KafkaException(KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS))
NO_LEADER = KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))


class Group:
    """The group as a client sees it: commits, and what each poll brings."""

    def __init__(self) -> None:
        self.commits: dict[int, int] = {}
        self.failures: list[Exception] = []  # of the next questions for commits
        self.polls: list[Callable[[], list[Message]]] = []
        self.clients: list[MagicMock] = []
        self.now = 0.0

    @property
    def kafka(self) -> MagicMock:
        """The client in use."""
        return self.clients[-1]

    def client(self, _config: dict[str, Any]) -> MagicMock:
        made = MagicMock()
        made.committed.side_effect = self._committed
        made.commit.side_effect = self._commit
        made.consume.side_effect = lambda *_: self.polls.pop(0)() if self.polls else []
        made.get_watermark_offsets.return_value = (0, 1000)
        made.assignment.return_value = []
        self.clients.append(made)
        return made

    def _committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self.failures:
            raise self.failures.pop(0)
        return [
            TopicPartition(at.topic, at.partition, self.commits[at.partition], MARK)
            if at.partition in self.commits
            else at
            for at in partitions
        ]

    def _commit(self, offsets: list[TopicPartition], **_: object) -> list[TopicPartition]:
        self.commits |= {at.partition: at.offset for at in offsets}
        return offsets


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    made = Group()
    facts = topic.TopicFacts("cluster", "crypto-quotes", "id", 4, dict(topic.TOPIC_CONFIG))
    monkeypatch.setattr(module, "KafkaConsumer", made.client)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(module, "waking_and_sleeping", lambda: made.now)
    monkeypatch.setattr(topic, "Admin", MagicMock())
    monkeypatch.setattr(topic, "describe", lambda *_: facts)
    monkeypatch.setenv("KAFKA_TOPIC", "crypto-quotes")
    monkeypatch.setenv("CONSUMER_SHUTDOWN_GRACE_SECONDS", "5")
    monkeypatch.setenv("S3_BUCKET", "bucket")
    return made


@pytest.fixture
def store() -> Bucket:
    return Bucket()


@pytest.fixture
def ours(group: Group, store: Any) -> Iterator[Consumer]:
    made = Consumer(load(), store, store, ConsumerMetrics())
    yield made
    made._sink.close()


def places(*partitions: int) -> list[TopicPartition]:
    return [TopicPartition("crypto-quotes", partition) for partition in partitions]


def assign(ours: Consumer, *partitions: int) -> list[Message]:
    """As librdkafka does inside a poll."""
    ours._assigned(ours._kafka, places(*partitions))
    return []


def quotes(partition: int, *offsets: int) -> list[Message]:
    return [
        Message(topic="crypto-quotes", partition=partition, offset=at, value=value(), timestamp=(2, 0), leader_epoch=1)
        for at in offsets
    ]


def test_a_kafka_that_does_not_describe_its_topic_after_an_assignment_is_asked_again(
    ours: Consumer, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    described, answers = topic.describe, [topic.UnreachableError("away"), LOADS]
    monkeypatch.setattr(topic, "describe", MagicMock(side_effect=[*answers, described(MagicMock(), "")]))
    group.commits[0] = 7
    assign(ours, 0)
    for _ in answers:
        ours._turn()
        assert not ours._contract_is_fresh
    ours._turn()
    assert ours._contract_is_fresh


def test_a_topic_that_became_unfit_is_still_refused(ours: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "describe", MagicMock(side_effect=topic.TopicError("not there")))
    assign(ours, 0)
    with pytest.raises(RefusedError, match="not there"):
        ours._turn()


def test_a_coordinator_that_loads_at_an_assignment_holds_up_the_new_partitions_only(
    ours: Consumer, group: Group
) -> None:
    group.commits |= {0: 7, 1: 5}
    assign(ours, 0)
    group.failures = [LOADS, LOADS, LOADS]
    assign(ours, 1)
    ours._turn()
    assert (list(ours._lanes), group.kafka.pause.call_args.args[0][0].partition) == ([0], 1)
    while group.failures:
        ours._turn()
    ours._turn()
    assert {number: lane.start for number, lane in ours._lanes.items()} == {0: 7, 1: 5}
    (sought,) = group.kafka.seek.call_args.args
    assert (sought.partition, sought.offset) == (1, 5)
    group.kafka.resume.assert_called_once_with(places(1))


def test_a_partition_without_a_leader_holds_up_no_other(ours: Consumer, group: Group) -> None:
    def watermarks(at: TopicPartition, **_: object) -> tuple[int, int]:
        if at.partition == 0 and leaderless:
            raise NO_LEADER
        return (3, 1000)

    leaderless = True
    group.kafka.get_watermark_offsets.side_effect = watermarks
    assign(ours, 0, 1)
    for _ in range(3):
        ours._turn()
    assert list(ours._lanes) == [1]
    leaderless = False
    ours._turn()
    assert (ours._lanes[0].start, group.commits[0]) == (3, 3)


def test_a_start_that_kafka_did_not_commit_is_none(ours: Consumer, group: Group) -> None:
    refused = MagicMock(error=KafkaError(KafkaError.NOT_COORDINATOR))
    group.kafka.commit.side_effect = [[refused], []]
    assign(ours, 0)
    ours._turn()
    assert list(ours._lanes) == []
    ours._turn()
    assert list(ours._lanes) == [0]


def test_commits_that_are_told_late_are_no_stall(ours: Consumer, group: Group) -> None:
    def slowly(*_: object, **__: object) -> list[TopicPartition]:
        group.now += 20.0
        if group.now < 60:
            raise LOADS
        return places()

    group.kafka.committed.side_effect = slowly
    group.polls.append(lambda: assign(ours, 0))
    while group.now < 60:
        ours._turn()
    assert len(group.clients) == 1


def test_sigterm_while_commits_are_not_told_lands_and_commits_the_others(
    ours: Consumer, group: Group, store: Any
) -> None:
    def end() -> list[Message]:
        group.failures = [LOADS] * 1000
        ours.stop()
        return assign(ours, 1)

    group.commits[0] = 5
    group.polls = [lambda: assign(ours, 0), lambda: quotes(0, 5, 6), end]
    assert ours.run() == EXIT_CLEAN
    assert group.commits[0] == 7
    landed = [entry["path"] for chunk in obstore.list(store, "crypto_data/1970") for entry in chunk]
    assert len(landed) == 1


@pytest.mark.parametrize("how", ["revoked", "lost", "joined anew"])
def test_a_stopped_partition_that_moves_away_is_no_problem_of_ours_any_more(
    ours: Consumer, group: Group, how: str
) -> None:
    group.commits |= {0: 7, 1: 5}
    assign(ours, 0, 1)
    ours._stop_partition(0, "partition 0: truncated")
    assert "partition 0: truncated" in ours.health().problems
    if how == "revoked":
        ours._revoked(group.kafka, places(0))
    elif how == "lost":
        ours._lost(group.kafka, places(0, 1))
    else:
        ours._join_anew()
    assert not any("truncated" in problem for problem in ours.health().problems)
    assert ours._metrics.registry.get_sample_value("lakehouse_consumer_partitions_stopped") == 0


def test_a_partition_that_is_stopped_at_the_end_is_told_by_the_exit_status(ours: Consumer, group: Group) -> None:
    def end() -> list[Message]:
        ours._stop_partition(0, "partition 0: truncated")
        ours.stop()
        return []

    group.commits[0] = 7
    group.polls = [lambda: assign(ours, 0), end]
    group.kafka.close.side_effect = lambda: ours._revoked(group.kafka, places(0))  # as librdkafka does
    with capture_logs() as lines:
        assert ours.run() == EXIT_UNLANDED
    assert [line["stopped_partitions"] for line in lines if line["event"] == "stopped"] == [
        {0: "partition 0: truncated"}
    ]


@pytest.mark.parametrize(
    "code", [KafkaError._LOG_TRUNCATION, KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE]
)
def test_records_that_are_no_longer_in_the_log_stop_their_partition_and_name_the_way_on(
    ours: Consumer, group: Group, code: int
) -> None:
    group.commits |= {0: 7, 1: 5}
    assign(ours, 0, 1)
    group.polls = [lambda: [*quotes(1, 5), Message(topic="crypto-quotes", partition=0, error=KafkaError(code))]]
    ours._turn()
    assert sorted(ours._lanes) == [1]
    assert ours._lanes[1].position == 6
    assert "python -m include.ingest adopt --partition 0" in ours._stopped[0]
    before = ours._contract_is_fresh
    ours._turn()
    assert (before, ours._contract_is_fresh) == (False, True)
    assert sorted(ours._lanes) == [1]


def gone(partition: int) -> Message:
    return Message(topic="crypto-quotes", partition=partition, error=KafkaError(KafkaError.OFFSET_OUT_OF_RANGE))


def test_partitions_that_stop_one_after_another_do_not_hold_up_the_others(
    ours: Consumer, group: Group, store: Any
) -> None:
    group.commits |= {0: 7, 1: 5, 2: 9, 3: 9}
    assign(ours, 0, 1, 2, 3)
    ours._turn()
    group.polls = [lambda: [*quotes(1, 5), gone(0)], lambda: [gone(2)], lambda: [gone(3)]]
    ours._turn()
    ours._lanes[1].close_open("age")
    ours._turn()
    assert not ours._contract_is_fresh
    assert ours._lanes[1].in_flight == 1
    assert ours._metrics.registry.get_sample_value("lakehouse_consumer_puts_in_flight") == 1
    assert (ours._metrics.registry.get_sample_value("lakehouse_consumer_buffered_bytes") or 0) > 0


def test_a_refusal_found_at_sigterm_is_told_with_the_statistics(
    ours: Consumer, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = topic.describe(MagicMock(), "crypto-quotes")

    def end() -> list[Message]:
        monkeypatch.setattr(topic, "describe", lambda *_: dataclasses.replace(facts, topic_id="another"))
        ours.stop()
        return [*quotes(1, 5), gone(0)]

    group.commits |= {0: 7, 1: 5}
    group.polls = [lambda: assign(ours, 0, 1), end]
    with capture_logs() as lines, pytest.raises(RefusedError, match="deleted and recreated"):
        ours.run()
    (told,) = [line for line in lines if line["event"] == "stopped"]
    assert not told["everything_landed"]
    assert list(told["stopped_partitions"]) == [0]
    assert group.commits[1] == 5


def test_a_commit_carries_the_leader_epoch_of_its_last_record_and_a_start_hands_it_back(
    ours: Consumer, group: Group
) -> None:
    group.commits[0] = 5

    def end() -> list[Message]:
        ours.stop()
        return []

    group.polls = [lambda: assign(ours, 0), lambda: quotes(0, 5, 6), end]
    assert ours.run() == EXIT_CLEAN
    (committed,) = group.kafka.commit.call_args.kwargs["offsets"]
    assert (committed.offset, committed.leader_epoch) == (7, 1)
    group.kafka.committed.side_effect = None
    group.kafka.committed.return_value = [committed]
    assign(ours, 0)
    ((start,),) = group.kafka.incremental_assign.call_args.args
    assert (start.offset, start.leader_epoch) == (7, 1)


def test_an_offset_that_is_gone_with_its_topic_ends_the_consumer_and_nothing_more_is_written(
    ours: Consumer, group: Group, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = topic.describe(MagicMock(), "crypto-quotes")
    group.commits |= {0: 7, 1: 5}
    assign(ours, 0, 1)
    ours._turn()
    group.polls = [lambda: [*quotes(1, 5), gone(0)]]
    monkeypatch.setattr(topic, "describe", lambda *_: dataclasses.replace(facts, topic_id="another"))
    ours._turn()
    ours._lanes[1].close_open("age")
    with pytest.raises(RefusedError, match="deleted and recreated"):
        ours._turn()
    assert ours._lanes[1].in_flight == 0
    assert [found["path"] for page in obstore.list(store) for found in page] == ["crypto_data/_contract.json"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for the health of a consumer."""
    now = 0.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(health, "monotonic", lambda: now)
    return passes


def problem(ours: Consumer) -> str:
    found = ours.health()
    assert found.ready == (not found.problems)
    return " ".join(found.problems)


def test_who_was_never_assigned_is_not_ready_and_who_has_nothing_to_do_is(ours: Consumer) -> None:
    assert "no assignment from the group yet" in problem(ours)
    assign(ours)
    assert problem(ours) == ""


@pytest.mark.parametrize("how", ["all revoked", "lost", "joined anew"])
def test_who_lost_its_assignment_is_not_ready_until_the_next_one(
    ours: Consumer, group: Group, clock: Callable[[float], None], how: str
) -> None:
    group.commits |= {0: 7, 1: 5}
    assign(ours, 0, 1)
    ours._turn()
    ours._revoked(group.kafka, places(0))
    clock(11)
    assert problem(ours) == ""
    if how == "all revoked":
        ours._revoked(group.kafka, places(1))
    elif how == "lost":
        ours._lost(group.kafka, places(1))
    else:
        ours._join_anew()
    clock(9)
    assert problem(ours) == ""  # each rebalance takes some seconds
    clock(2)
    assert "no assignment from the group since" in problem(ours)
    assign(ours, 1)
    ours._turn()
    assert problem(ours) == ""


def test_a_partition_that_is_not_placed_is_a_problem(
    ours: Consumer, group: Group, clock: Callable[[float], None]
) -> None:
    group.failures = [LOADS] * 3
    assign(ours, 0)
    ours._turn()
    clock(11)
    ours._turn()
    assert "landing waits: Kafka does not answer: " in problem(ours)
    assert ours.health().details["partitions_waiting"] == [0]
    ours._turn()
    ours._turn()
    assert problem(ours) == ""
    assert ours.health().details["partitions"] == [0]


def test_a_contract_that_cannot_be_read_again_is_a_problem(
    ours: Consumer, group: Group, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic, "describe", MagicMock(side_effect=topic.UnreachableError("away")))
    group.commits[0] = 7
    assign(ours, 0)
    ours._turn()
    clock(11)
    assert "landing waits: Kafka does not answer: away" in problem(ours)
    ours._lost(group.kafka, places(0))
    ours._contract_is_fresh = True
    ours._turn()
    assert "landing waits" not in problem(ours)


def test_commits_that_kafka_does_not_take_are_a_problem_until_one_is_taken(
    ours: Consumer, group: Group, clock: Callable[[float], None]
) -> None:
    group.commits[0] = 7
    assign(ours, 0)
    ours._turn()
    ours._committed(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED), places(0))
    clock(11)
    assert "Kafka does not take commits: " in problem(ours)
    ours._committed(None, places(0))
    assert problem(ours) == ""


def test_a_kafka_that_is_away_is_a_problem_with_its_reason(ours: Consumer, clock: Callable[[float], None]) -> None:
    assign(ours)
    ours._kafka_said(KafkaError(KafkaError._AUTHENTICATION, "Authentication failed"))
    ours._kafka_said(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    clock(11)
    assert problem(ours) == ""  # one connection of several may fail without harm
    ours._kafka_stands('{"cgrp": {"state": "query-coord", "other": 1}, "brokers": {}}')
    clock(11)
    assert "Kafka does not answer (query-coord): Authentication failed" in problem(ours)
    ours._kafka_stands('{"cgrp": {"state": "up"}}')
    assert problem(ours) == ""


def test_librdkafka_tells_of_a_kafka_that_is_away(ours: Consumer, clock: Callable[[float], None]) -> None:
    assign(ours)
    told = {name: ours._config[name] for name in ("error_cb", "stats_cb")}
    real = KafkaConsumer(
        told | {"bootstrap.servers": f"127.0.0.1:{free_port()}", "group.id": "g", "statistics.interval.ms": 100}
    )
    real.subscribe(["crypto-quotes"])
    deadline = monotonic() + 20
    while "Connection refused" not in problem(ours):
        assert monotonic() < deadline
        real.poll(0.2)
        clock(5)
    real.close()


class Pages:
    """Lists a bucket as S3 does, page by page, as slowly as a test wants; `open` holds all listings back."""

    def __init__(self) -> None:
        self.listings = 0
        self.open = threading.Event()
        self.failures: list[Exception] = []
        self._list = obstore.list

    def list(self, store: Any, prefix: str) -> Iterator[Any]:
        self.listings += prefix == "dead_letter/"  # each is followed by one of the data
        yield []
        assert self.open.wait(10)
        if self.failures:
            raise self.failures.pop(0)
        yield from self._list(store, prefix=prefix)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch, store: Any) -> Iterator[Pages]:
    made = Pages()
    monkeypatch.setattr(module, "LISTING_SECONDS", 0.05)
    monkeypatch.setattr(obstore, "list", made.list)
    for partition in (0, 1):
        for offset in (500 + partition, 10**9):  # so far on that nothing is missing before the first
            obstore.put(store, object_key("crypto_data/", "crypto_data", partition, offset, 0, ".json"), b"")
    yield made
    made.open.set()


def turn_until(ours: Consumer, condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 10
    while not condition():
        assert monotonic() < deadline
        ours._turn()


def test_one_listing_finds_the_start_of_all_partitions_without_a_commit(
    ours: Consumer, group: Group, pages: Pages
) -> None:
    pages.open.set()
    assign(ours, 0, 1, 2)
    turn_until(ours, lambda: len(ours._lanes) == 3)
    assert pages.listings == 1
    assert group.commits == {0: 500, 1: 501, 2: 0}


def put_letters_without_data(store: Any, topic_id: str, writer: str) -> None:
    """Dead letters of partition 1, behind its last data object."""
    metadata = ObjectMetadata("crypto-quotes", topic_id, 1, 10**9 + 1, 10**9 + 8, 0, 1, writer).to_attributes()
    obstore.put(store, object_key("dead_letter/", "dead_letter", 1, 10**9 + 1, 0), b"[\n]", attributes=metadata)


def test_what_adopt_gave_up_is_not_started_at_again(ours: Consumer, group: Group, store: Any, pages: Pages) -> None:
    pages.open.set()
    put_letters_without_data(store, "id", "adopt")
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 10**9, 0, ".json"), b"[\n]")  # of an object
    assign(ours, 0, 1)
    turn_until(ours, lambda: len(ours._lanes) == 2)
    assert group.commits == {0: 500, 1: 10**9 + 9}


def test_a_consumers_dead_letters_without_data_let_nothing_be_skipped(
    ours: Consumer, group: Group, store: Any, pages: Pages
) -> None:
    pages.open.set()
    put_letters_without_data(store, "id", "host:7")
    assign(ours, 1)
    turn_until(ours, lambda: len(ours._lanes) == 1)
    assert group.commits == {1: 501}


def test_dead_letters_of_another_topic_stop_their_partition(
    ours: Consumer, group: Group, store: Any, pages: Pages
) -> None:
    pages.open.set()
    put_letters_without_data(store, "before", "adopt")
    assign(ours, 0, 1)
    turn_until(ours, lambda: len(ours._lanes) == 1 and 1 in ours._stopped)
    assert group.commits == {0: 500}
    assert "topic id before, expected topic id id" in ours._stopped[1]
    assert "out of S3_DEAD_LETTER_PREFIX" in ours._stopped[1]


def test_others_are_read_while_a_listing_takes_its_time(
    ours: Consumer, group: Group, pages: Pages, clock: Callable[[float], None]
) -> None:
    group.commits[3] = 5
    assign(ours, 0, 3)
    group.polls = [lambda: quotes(3, 5), lambda: quotes(3, 6)]
    turn_until(ours, lambda: not group.polls)
    assert ours._lanes[3].position == 7
    clock(11)
    assert "landing waits: what is landed is being listed" in problem(ours)
    pages.open.set()
    turn_until(ours, lambda: 0 in ours._lanes)
    assert (ours._lanes[0].start, pages.listings) == (500, 1)
    assert problem(ours) == ""


def test_a_partition_that_came_back_during_a_listing_is_listed_again(
    ours: Consumer, group: Group, store: Any, pages: Pages
) -> None:
    assign(ours, 0, 1)
    ours._turn()
    ours._revoked(group.kafka, places(1))
    assign(ours, 1)
    pages.open.set()
    turn_until(ours, lambda: len(ours._lanes) == 2)
    assert pages.listings == 2


def test_a_listing_that_s3_breaks_off_is_begun_again(ours: Consumer, group: Group, pages: Pages) -> None:
    pages.failures = [GenericError("503")]
    pages.open.set()
    assign(ours, 0)
    turn_until(ours, lambda: 0 in ours._lanes)
    assert (group.commits[0], pages.listings, ours._metrics.total.errors) == (500, 2, 1)


def test_a_question_that_takes_longer_than_the_pause_is_not_asked_again_at_once(
    ours: Consumer, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a partition whose leader stays away would leave the others one poll for each of its time-outs."""
    now = monotonic()

    def times_out(*_: object, **__: object) -> tuple[int, int]:
        nonlocal now
        now += 10.0
        raise NO_LEADER

    monkeypatch.setattr(module, "SETTLE_SECONDS", 2.0)
    monkeypatch.setattr(module, "monotonic", lambda: now)
    group.kafka.get_watermark_offsets.side_effect = times_out
    ours._settle_at = 0.0
    assign(ours, 0)
    for _ in range(5):
        ours._turn()
    assert group.kafka.get_watermark_offsets.call_count == 1
    now += 2.0
    ours._turn()
    assert group.kafka.get_watermark_offsets.call_count == 2


def test_a_dead_letter_object_that_does_not_say_what_it_holds_stops_its_partition_only(
    ours: Consumer, group: Group, store: Any
) -> None:
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 5, 0), b"[]")
    assign(ours, 0, 1)
    ours._turn()
    assert list(ours._lanes) == [1]
    assert "dead_letter" in ours.health().problems[0]


def test_where_nothing_is_to_be_landed_an_end_asks_nobody(
    ours: Consumer, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    assign(ours, 0)  # the contract is to be read again
    monkeypatch.setattr(topic, "describe", MagicMock(side_effect=AssertionError("was asked")))
    assert ours._flush([], "shutdown", 5.0)


def test_commits_that_fail_for_one_partition_are_a_problem_although_another_succeeds(
    ours: Consumer, group: Group, clock: Callable[[float], None]
) -> None:
    group.commits |= {0: 7, 1: 5}
    assign(ours, 0, 1)
    ours._turn()
    failed = MagicMock(partition=0, error=KafkaError(KafkaError.NOT_COORDINATOR))
    for _ in range(2):
        ours._committed(None, [failed, MagicMock(partition=1, error=None)])
        clock(6)
    assert "Kafka does not take commits" in problem(ours)
    ours._committed(None, places(0, 1))
    assert problem(ours) == ""
