"""The consumer's loop: an unavailable Kafka, rebalances, signals, and the health that the consumer reports.

A test plays a script: each `yield` is what one poll returns, and the script's end stops the consumer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from time import monotonic, sleep
from typing import Any, cast
from unittest.mock import MagicMock

import obstore
import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, Message, TopicPartition
from obstore.exceptions import GenericError
from structlog.testing import capture_logs

from include.ingest import placement as placement_module
from include.ingest import quote
from include.ingest import sink as sink_module
from include.ingest.commit_check import CommitCheck
from include.ingest.consumer import EXIT_CLEAN, Consumer, RefusedError
from include.ingest.log_ends import LogEnds
from include.ingest.metrics import ConsumerMetrics
from include.ingest.placement import RETRY_SECONDS, Placement
from include.ingest.shutdown import EXIT_UNLANDED, Deadline
from include.ingest.sink import Destination, Sink
from include.ingest.starting_offset import commit_metadata
from include.ingest.stops import TRY_AGAIN_SECONDS
from include.ingest.watchdog import Watchdog
from include.landing.body import PLAIN
from include.landing.layout import object_key
from include.landing.metadata import ObjectMetadata
from include.settings import ConsumerSettings, KafkaSettings, StorageSettings
from tests.servers import free_port
from tests.unit.ingest.fake_kafka import (
    LOADS,
    NO_LEADER,
    TOPIC,
    Admin,
    Group,
    Onlooker,
    Time,
    offset_error,
    places,
    quotes,
)
from tests.unit.ingest.memory_bucket import Bucket, Pages

SESSION_SECONDS = 30.0
GRACE_SECONDS = 20.0
CELL = 100
BATCH_AGE = 60.0
"""The age at which a batch is landed, s."""

Script = Iterator[list[Message]]


class Stage:
    """A consumer between a fake Kafka and a bucket in memory; each poll takes `poll_seconds`."""

    def __init__(self) -> None:
        self.group, self.admin, self.time, self.metrics = Group(), Admin(), Time(), ConsumerMetrics()
        self.store = cast("Any", Bucket())
        self.boot = 0.0
        self.poll_seconds = RETRY_SECONDS
        self.deadline = Deadline(GRACE_SECONDS, lambda _: None, lambda _: None, self.time)
        kafka = KafkaSettings(topic=TOPIC)
        settings = ConsumerSettings(
            batch_records=CELL, batch_age_seconds=BATCH_AGE, max_buffer_bytes=2**20, revoke_flush_seconds=1
        )
        admin = cast("Any", self.admin)
        watchdog = Watchdog(SESSION_SECONDS, lambda: self.boot)
        placement = Placement(
            kafka, settings, StorageSettings(), "read_committed", admin, lambda: self.group.kafka, self.store,
            self.metrics, watchdog, self.time,
        )  # fmt: skip
        destination = Destination("crypto_data/", "dead_letter/", placement.open(), PLAIN, "test")
        sink = Sink(self.store, destination, self.metrics, 4)
        self.consumer = Consumer(
            kafka, settings, self.group.connect, placement, sink, PLAIN, self.metrics, watchdog, self.deadline,
            LogEnds(cast("Any", Onlooker(self.admin)), TOPIC, self.time), self.time,
        )  # fmt: skip

    def play(self, script: Script) -> int:
        """Run the consumer; returns its exit status."""

        def poll() -> list[Message]:
            self.time.passes(self.poll_seconds)
            try:
                return next(script)
            except StopIteration:
                self.consumer.stop()
                return []

        self.group.poll = poll
        return self.consumer.run()

    def until(self, condition: Callable[[], bool]) -> Script:
        """Polls without messages until the condition holds."""
        deadline = monotonic() + 60
        while not condition():
            assert monotonic() < deadline
            yield []

    @property
    def landed(self) -> list[str]:
        """Keys of data objects."""
        return [entry["path"] for page in obstore.list(self.store, "crypto_data/1970") for entry in page]

    @property
    def problem(self) -> str:
        health = self.consumer.health()
        assert health.ready == (not health.problems)
        return " ".join(health.problems)

    def partitions(self, which: str = "") -> list[int]:
        """The partitions that land, that wait ("_waiting") or that are stopped ("_stopped")."""
        numbers: list[int] = self.consumer.health().details[f"partitions{which}"]
        return numbers

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"lakehouse_consumer_{name}")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(placement_module, "PROMPT_SECONDS", 60)  # the fakes answer at once, however slow the machine is
    return Stage()


@pytest.fixture
def group(stage: Stage) -> Group:
    return stage.group


# --- a Kafka that does not answer ----------------------------------------------


def test_nothing_is_landed_until_kafka_describes_the_assigned_topic(stage: Stage, group: Group) -> None:
    def script() -> Script:
        stage.admin.failures = [LOADS, LOADS, LOADS]
        yield group.assign(0)
        yield quotes(0, 7)
        stage.time.passes(BATCH_AGE)
        while stage.admin.failures:
            yield []
            assert stage.landed == []
        yield from stage.until(lambda: len(stage.landed) == 1)

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN


def test_a_topic_that_became_unfit_is_still_refused(stage: Stage, group: Group) -> None:
    def script() -> Script:
        stage.admin.exists = False
        yield group.assign(0)

    with pytest.raises(RefusedError, match="not there"):
        stage.play(script())


def test_a_foreign_commit_is_refused(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)

    group.commits[0] = TopicPartition(TOPIC, 0, 7, "somebody else")
    with pytest.raises(RefusedError, match="adopt"):
        stage.play(script())
    assert group.offsets == {0: 7}


def test_a_coordinator_that_loads_delays_the_new_partitions_only(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)
        ((start,),) = group.kafka.incremental_assign.call_args.args
        assert start.offset == 7
        group.failures = [LOADS, LOADS, LOADS]
        yield group.assign(1)
        assert (stage.partitions(), group.kafka.pause.call_args.args[0][0].partition) == ([0], 1)
        yield from stage.until(lambda: not group.failures)
        assert stage.partitions("_waiting") == [1]
        yield []
        assert stage.partitions() == [0, 1]
        (start,) = group.kafka.seek.call_args.args
        assert (start.partition, start.offset) == (1, 5)
        group.kafka.resume.assert_called_with(places(1))

    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_CLEAN


def test_commits_that_come_late_are_not_a_stall(stage: Stage, group: Group) -> None:
    def slowly(*_: object, **__: object) -> list[TopicPartition]:
        stage.boot += 20.0
        if stage.boot < 60:
            raise LOADS
        return places()

    def script() -> Script:
        group.kafka.committed.side_effect = slowly
        yield group.assign(0)
        while stage.boot < 60:
            stage.boot += SESSION_SECONDS / 2
            yield []

    assert stage.play(script()) == EXIT_CLEAN
    assert len(group.clients) == 1


def test_after_a_silence_longer_than_the_session_the_consumer_joins_again(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)
        stage.boot += SESSION_SECONDS
        yield [*quotes(0, 7), offset_error(0)]
        assert (len(group.clients), stage.partitions()) == (2, [])
        group.clients[0].close.assert_called_once_with()
        yield group.assign(0)
        yield []
        assert stage.partitions() == [0]

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN
    assert (group.offsets, stage.landed) == ({0: 7}, [])


def test_after_an_assignment_without_a_callback_the_consumer_joins_again(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)
        group.kafka.assignment.side_effect = lambda: places(0, 1)
        yield from stage.until(lambda: len(group.clients) == 2)

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN


def test_other_partitions_are_landed_during_a_slow_listing(
    stage: Stage, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script() -> Script:
        yield group.assign(0, 3)
        yield quotes(3, 5)
        yield quotes(3, 6)
        stage.time.passes(BATCH_AGE)
        yield from stage.until(lambda: group.offsets[3] == 7)
        assert "landing waits: what is landed is being listed" in stage.problem
        assert (stage.partitions(), stage.partitions("_waiting")) == ([3], [0])
        pages.open.set()
        yield from stage.until(lambda: stage.partitions() == [0, 3])
        assert stage.problem == ""

    pages = Pages()
    monkeypatch.setattr(obstore, "list", pages.list)
    group.has_committed({3: 5})
    assert stage.play(script()) == EXIT_CLEAN
    assert (group.offsets, pages.listings) == ({0: 0, 3: 7}, 1)


# --- records and their ends ----------------------------------------------------


def end_of(partition: int, offset: int) -> Message:
    """The event that Kafka has nothing more to read."""
    return Message(topic=TOPIC, partition=partition, offset=offset, error=KafkaError(KafkaError._PARTITION_EOF))


def test_a_hole_at_the_logs_end_is_committed_with_the_end_of_the_records(stage: Stage, group: Group) -> None:
    def script() -> Script:
        group.kafka.position.side_effect = lambda _: [TopicPartition(TOPIC, 0, 12, "", 3)]
        yield group.assign(0)
        yield [*quotes(0, 7, 8), end_of(0, 12)]
        assert group.offsets == {0: 7}
        stage.time.passes(BATCH_AGE)
        yield from stage.until(lambda: group.offsets == {0: 12})

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN
    assert (group.commits[0].metadata, group.commits[0].leader_epoch) == (commit_metadata("id", 9), 3)


def test_a_hole_at_the_logs_end_is_committed_without_the_clients_position(stage: Stage, group: Group) -> None:
    def script() -> Script:
        group.kafka.position.side_effect = NO_LEADER
        yield group.assign(0)
        yield [*quotes(0, 7, 8), end_of(0, 12)]
        stage.time.passes(BATCH_AGE)
        yield from stage.until(lambda: group.offsets == {0: 12})

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN
    assert stage.partitions("_stopped") == []


def test_an_odd_error_of_a_look_at_the_log_does_not_end_the_loop(stage: Stage, group: Group) -> None:
    def script() -> Script:
        failures = [ValueError("a fault of the client"), UnicodeDecodeError("utf-8", b"", 0, 1, "odd")]

        def fail(*_: object, **__: object) -> dict[TopicPartition, Any]:
            if not failures:
                group.kafka.fails_no_more = True
                return {}
            raise failures.pop()

        stage.consumer._log_ends._admin = cast("Any", MagicMock(list_offsets=fail))
        yield group.assign(0)
        stage.poll_seconds = 5
        yield from stage.until(lambda: "a fault of the client" in stage.consumer._log_ends.answer.error)
        yield from stage.until(lambda: group.kafka.fails_no_more is True)

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN


def test_the_end_of_a_partition_right_after_its_records_is_no_hole(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)
        yield [*quotes(0, 7), end_of(0, 8)]
        stage.time.passes(BATCH_AGE)
        yield from stage.until(lambda: group.offsets == {0: 8})
        group.kafka.position.assert_not_called()

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN
    assert group.commits[0].metadata == commit_metadata("id")


def test_records_that_cannot_be_read_stop_only_their_partition(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0, 1)
        yield [offset_error(0, KafkaError._BAD_MSG), *quotes(1, 5)]
        assert (stage.partitions(), stage.partitions("_stopped")) == ([1], [0])
        assert "cannot be read" in stage.problem
        assert "adopt --partition 0" in stage.problem

    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_UNLANDED
    assert group.offsets == {0: 7, 1: 6}


def test_an_error_that_no_rule_foresees_stops_only_its_partition(
    stage: Stage, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = quote.check

    def check(values: Any, max_bytes: int) -> Any:
        if b"poison" in values:
            raise AttributeError("a fault of ours")
        return original(values, max_bytes)

    def script() -> Script:
        yield group.assign(0, 1)
        poison = Message(topic=TOPIC, partition=0, offset=7, value=b"poison", timestamp=(2, 0), leader_epoch=1)
        yield [poison, *quotes(1, 5)]
        assert (stage.partitions(), stage.partitions("_stopped")) == ([1], [0])
        assert "partition 0, offsets 7 to 7: unexpected AttributeError: a fault of ours" in stage.problem
        assert "adopt --partition 0 --offset 8" in stage.problem

    monkeypatch.setattr(quote, "check", check)
    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_UNLANDED
    assert group.offsets == {0: 7, 1: 6}


def test_nothing_is_landed_after_a_commit_that_somebody_set_by_hand(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)
        yield [*quotes(0, 7), end_of(0, 12)]
        stage.time.passes(BATCH_AGE)
        yield from stage.until(lambda: stage.partitions("_stopped") == [0])

    metadata = ObjectMetadata("t", "id", 0, 0, 2, 3, 0)
    key = object_key("crypto_data/", "crypto_data", 0, 0, 0)
    obstore.put(stage.store, key, b"[]", attributes=metadata.to_attributes())
    stage.consumer._commit_check = CommitCheck(stage.store, StorageSettings(), "id")
    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_UNLANDED
    assert (group.offsets, stage.landed) == ({0: 7}, [key])


# --- signals and refusals ------------------------------------------------------


def test_a_commit_checked_during_the_shutdown_lets_its_partition_land(
    stage: Stage, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Event()
    monkeypatch.setattr(CommitCheck, "_newest", lambda *_: {} if listed.wait(60) else None)

    def script() -> Script:
        yield group.assign(0)
        yield quotes(0, 7)
        listed.set()  # the answer comes after the last turn of the loop

    stage.consumer._commit_check = CommitCheck(stage.store, StorageSettings(), "id")
    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN
    assert group.offsets == {0: 8}


def test_sigterm_while_commits_are_unknown_lands_and_commits_the_others(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)
        yield quotes(0, 5, 6)
        group.failures = [LOADS] * 1000
        stage.consumer.stop()
        yield group.assign(1)

    group.has_committed({0: 5})
    assert stage.play(script()) == EXIT_CLEAN
    assert group.offsets[0] == 7
    assert len(stage.landed) == 1


def test_a_partition_that_is_stopped_at_the_end_changes_the_exit_status(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)
        group.kafka.close.side_effect = lambda: group.revoke(0)  # as librdkafka does
        yield [offset_error(0)]

    group.has_committed({0: 7})
    with capture_logs() as lines:
        assert stage.play(script()) == EXIT_UNLANDED
    (stopped,) = [line["stopped_partitions"] for line in lines if line["event"] == "stopped"]
    assert list(stopped) == [0]
    assert stopped[0].startswith("partition 0: ")


def test_a_refusal_at_sigterm_is_logged_with_the_statistics(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0, 1)
        stage.admin.topic_id = "another"
        stage.consumer.stop()
        yield [*quotes(1, 5), offset_error(0)]

    group.has_committed({0: 7, 1: 5})
    with capture_logs() as lines, pytest.raises(RefusedError, match="deleted and recreated"):
        stage.play(script())
    (stopped,) = [line for line in lines if line["event"] == "stopped"]
    assert not stopped["everything_landed"]
    assert list(stopped["stopped_partitions"]) == [0]
    assert group.offsets[1] == 5


def test_an_end_with_nothing_to_land_sends_no_request(stage: Stage, group: Group) -> None:
    def script() -> Script:
        stage.consumer.stop()
        yield group.assign(0)  # after this the contract must be read again

    before = stage.admin.requests
    assert stage.play(script()) == EXIT_CLEAN
    assert stage.admin.requests == before


# --- records that are not in the log -------------------------------------------


@pytest.mark.parametrize(
    "code", [KafkaError._LOG_TRUNCATION, KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE]
)
def test_records_missing_in_the_log_stop_their_partition_with_a_remedy(stage: Stage, group: Group, code: int) -> None:
    def script() -> Script:
        yield group.assign(0, 1)
        yield []
        before = stage.admin.requests
        yield [*quotes(1, 5), offset_error(0, code)]
        assert stage.admin.requests == before + 1  # the contract is read again
        assert "python -m include.ingest adopt --partition 0" in stage.problem
        yield []
        assert stage.admin.requests == before + 1
        assert (stage.partitions(), stage.partitions("_stopped")) == ([1], [0])

    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_UNLANDED
    assert group.offsets == {0: 7, 1: 6}


def test_partitions_that_stop_one_after_another_do_not_delay_the_others(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0, 1, 2, 3)
        yield []
        yield [*quotes(1, 5), offset_error(0)]
        stage.time.passes(BATCH_AGE)
        yield [offset_error(2)]
        assert stage.metric("puts_in_flight") == 1  # this PUT began before the poll: the next contract check may fail
        assert (stage.metric("buffered_bytes") or 0) > 0
        yield [offset_error(3)]

    group.has_committed({0: 7, 1: 5, 2: 9, 3: 9})
    assert stage.play(script()) == EXIT_UNLANDED


def test_an_offset_error_of_a_recreated_topic_ends_the_consumer(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0, 1)
        yield []
        stage.admin.topic_id = "another"
        yield [*quotes(1, *range(5, CELL)), offset_error(0)]  # a full batch
        yield []
        raise AssertionError("the consumer goes on")

    group.has_committed({0: 7, 1: 5})
    with pytest.raises(RefusedError, match="deleted and recreated"):
        stage.play(script())
    assert [entry["path"] for page in obstore.list(stage.store) for entry in page] == ["crypto_data/_contract.json"]


@pytest.mark.parametrize("how", ["revoked", "lost", "joined again"])
def test_a_stopped_partition_that_moves_away_is_not_a_problem_any_more(stage: Stage, group: Group, how: str) -> None:
    def script() -> Script:
        yield group.assign(0, 1)
        yield [offset_error(0)]
        assert "partition 0: " in stage.problem
        assert stage.metric("partitions_stopped") == 1
        if how == "revoked":
            yield group.revoke(0)
        elif how == "lost":
            yield group.lose(0, 1)
        else:
            stage.boot += SESSION_SECONDS
            yield []
        assert "partition 0: " not in stage.problem
        assert stage.metric("partitions_stopped") == 0

    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_CLEAN


# --- commits ---------------------------------------------------------------------


def test_a_commit_has_its_last_records_leader_epoch_and_a_start_returns_it(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)
        yield quotes(0, 5, 6)
        yield group.revoke(0)
        assert (group.commits[0].offset, group.commits[0].leader_epoch) == (7, 1)
        yield group.assign(0)
        ((start,),) = group.kafka.incremental_assign.call_args.args
        assert (start.offset, start.leader_epoch) == (7, 1)

    group.has_committed({0: 5})
    assert stage.play(script()) == EXIT_CLEAN


def test_commits_that_kafka_does_not_take_are_a_problem_until_it_takes_one(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)
        yield []
        group.callbacks["on_commit"](KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED), places(0))
        stage.time.passes(11)
        assert "Kafka does not take commits: " in stage.problem
        group.callbacks["on_commit"](None, places(0))
        assert stage.problem == ""

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN


def test_commits_that_fail_for_one_partition_of_two_are_a_problem(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0, 1)
        yield []
        failed = MagicMock(partition=0, error=KafkaError(KafkaError.NOT_COORDINATOR))
        for _ in range(2):
            group.callbacks["on_commit"](None, [failed, MagicMock(partition=1, error=None)])
            stage.time.passes(6)
        assert "Kafka does not take commits" in stage.problem
        group.callbacks["on_commit"](None, places(0, 1))
        assert stage.problem == ""

    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_CLEAN


# --- health ----------------------------------------------------------------------


def test_a_consumer_is_ready_from_its_first_assignment_on(stage: Stage, group: Group) -> None:
    def script() -> Script:
        assert "no assignment from the group yet" in stage.problem
        yield group.assign()
        assert stage.problem == ""

    assert "no assignment from the group yet" in stage.problem
    assert stage.play(script()) == EXIT_CLEAN


@pytest.mark.parametrize("how", ["all revoked", "lost", "joined again"])
def test_a_consumer_that_lost_its_assignment_is_not_ready_until_the_next(stage: Stage, group: Group, how: str) -> None:
    def script() -> Script:
        stage.poll_seconds = 0
        yield group.assign(0, 1)
        yield []
        yield group.revoke(0)
        stage.time.passes(11)
        assert stage.problem == ""
        if how == "all revoked":
            yield group.revoke(1)
        elif how == "lost":
            yield group.lose(1)
        else:
            stage.boot += SESSION_SECONDS
            yield []
        stage.time.passes(9)
        assert stage.problem == ""  # each rebalance takes some seconds
        stage.time.passes(2)
        assert "no assignment from the group since" in stage.problem
        yield group.assign(1)
        yield []
        assert stage.problem == ""

    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_CLEAN


def test_a_partition_that_is_not_placed_is_a_problem(stage: Stage, group: Group) -> None:
    def script() -> Script:
        group.failures = [LOADS] * 3
        yield group.assign(0)
        stage.time.passes(11)
        yield []
        assert "landing waits: Kafka does not answer: " in stage.problem
        assert stage.partitions("_waiting") == [0]
        yield from stage.until(lambda: stage.partitions() == [0])
        assert stage.problem == ""

    assert stage.play(script()) == EXIT_CLEAN


def test_a_contract_that_cannot_be_read_again_is_a_problem(stage: Stage, group: Group) -> None:
    def script() -> Script:
        stage.admin.failures = [LOADS] * 1000
        yield group.assign(0)
        yield []
        stage.time.passes(11)
        assert "landing waits: Kafka does not answer: Kafka is away" in stage.problem
        group.lose(0)
        stage.admin.failures = []
        yield []
        yield []
        assert "landing waits" not in stage.problem

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN


def test_a_kafka_that_does_not_answer_is_a_problem_with_its_reason(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign()
        group.callbacks["error_cb"](KafkaError(KafkaError._AUTHENTICATION, "Authentication failed"))
        group.callbacks["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
        stage.time.passes(11)
        assert stage.problem == ""  # one connection of several may fail without harm
        group.callbacks["stats_cb"]('{"cgrp": {"state": "query-coord", "other": 1}, "brokers": {}}')
        stage.time.passes(11)
        assert "Kafka does not answer (query-coord): _AUTHENTICATION: Authentication failed. The" in stage.problem
        group.callbacks["stats_cb"]('{"cgrp": {"state": "up"}}')
        assert stage.problem == ""

    assert stage.play(script()) == EXIT_CLEAN


def test_librdkafka_reports_a_kafka_that_does_not_answer(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign()
        callbacks = {name: group.callbacks[name] for name in ("error_cb", "stats_cb")}
        address = f"127.0.0.1:{free_port()}"
        client = KafkaConsumer(
            callbacks | {"bootstrap.servers": address, "group.id": "g", "statistics.interval.ms": 100}
        )
        client.subscribe([TOPIC])
        deadline = monotonic() + 20
        while "Connection refused" not in stage.problem:
            assert monotonic() < deadline
            client.poll(0.2)
            stage.time.passes(5)
        client.close()

    assert stage.play(script()) == EXIT_CLEAN


def test_a_dead_letter_object_without_metadata_stops_its_partition_only(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0, 1)
        yield from stage.until(lambda: stage.partitions() == [1])
        assert "dead_letter" in stage.problem
        assert stage.partitions("_stopped") == [0]

    obstore.put(stage.store, object_key("dead_letter/", "dead_letter", 0, 5, 0), b"[]")
    assert stage.play(script()) == EXIT_UNLANDED


# --- many partitions -------------------------------------------------------------


def test_landing_goes_on_while_a_thousand_partitions_are_placed(
    stage: Stage, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question to this Kafka takes 20 ms, so one after another they would take 20 s and more."""
    monkeypatch.setattr(placement_module, "PROMPT_SECONDS", 0.1)
    turns: list[float] = []

    def slow_log_start(_: TopicPartition, **__: object) -> tuple[int, int]:
        sleep(0.02 if not stage.landed else 0)
        return (0, 1000)

    def slow_commit(offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        sleep(0 if asynchronous else 0.2)
        return group._commit(offsets, asynchronous)

    def script() -> Script:
        stage.poll_seconds = 0
        group.kafka.get_watermark_offsets.side_effect = slow_log_start
        group.kafka.commit.side_effect = slow_commit
        yield group.assign(0)
        yield quotes(0, 7)
        yield group.assign(*range(1, 1001))
        yield quotes(0, *range(8, 107))  # a full batch
        begin = monotonic()
        while len(stage.partitions()) < 1001:
            assert begin + 100 > monotonic()
            turn = monotonic()
            yield []
            turns.append(monotonic() - turn)
            if len(turns) == 20:
                yield from stage.until(lambda: len(stage.landed) == 1)  # while the others wait
                assert len(stage.partitions("_waiting")) > 0

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN
    assert max(turns) < 1
    assert group.offsets[0] == 107
    assert len(group.offsets) == 1001


# --- state that belongs to a partition --------------------------------------------


@pytest.fixture
def s3_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Lets PUTs of batches fail, or succeed again."""
    put, failing = obstore.put, False

    def attempt(store: Any, key: str, *arguments: Any, **options: Any) -> Any:
        if failing and "_contract" not in key:
            raise GenericError("503 Slow Down")
        return put(store, key, *arguments, **options)

    def fail(now: bool) -> None:
        nonlocal failing
        failing = now

    monkeypatch.setattr(obstore, "put", attempt)
    monkeypatch.setattr(sink_module, "MAX_DELAY_SECONDS", 0.1)
    return fail


def test_a_partition_that_moved_away_paused_is_read_when_it_is_back(
    stage: Stage, group: Group, s3_fails: Callable[[bool], None]
) -> None:
    def script() -> Script:
        yield group.assign(0, 1)
        yield []
        s3_fails(True)
        offset = 7
        while group.paused != {0, 1}:
            yield quotes(0, *range(offset, offset + 500))
            offset += 500
            assert offset < 10_000
        yield group.revoke(0)
        s3_fails(False)
        yield from stage.until(lambda: group.paused == {0})  # librdkafka keeps the flag of a partition that moved
        yield group.assign(0)
        yield from stage.until(lambda: group.paused == set() and stage.problem == "")

    stage.admin.ends = {0: 7, 1: 5}
    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_CLEAN


def test_a_partition_that_comes_while_reading_is_paused_is_not_read(
    stage: Stage, group: Group, s3_fails: Callable[[bool], None]
) -> None:
    def script() -> Script:
        yield group.assign(0)
        yield []
        s3_fails(True)
        offset = 7
        while group.paused != {0}:
            yield quotes(0, *range(offset, offset + 500))
            offset += 500
            assert offset < 10_000
        yield group.assign(1)
        assert group.paused == {0, 1}
        s3_fails(False)
        yield from stage.until(lambda: group.paused == set())

    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_CLEAN


def test_a_stopped_partition_goes_on_when_its_cause_is_gone(stage: Stage, group: Group) -> None:
    key = object_key("crypto_data/", "crypto_data", 0, 7, 2)
    foreign = ObjectMetadata(TOPIC, "another", 0, 7, 8, 2, 0, "x").to_attributes()

    def script() -> Script:
        yield group.assign(0, 1)
        yield [*quotes(0, 7), *quotes(1, 5)]
        stage.time.passes(BATCH_AGE)
        yield from stage.until(lambda: stage.partitions("_stopped") == [0])
        for _ in range(2):  # the cause is looked for again, and still there
            stage.time.passes(TRY_AGAIN_SECONDS)
            yield from stage.until(lambda: 0 in stage.partitions())
            assert "the prefix holds another topic's data" in stage.problem
            yield quotes(0, 7)
            stage.time.passes(BATCH_AGE)
            yield from stage.until(lambda: 0 not in stage.partitions())
        assert "the prefix holds another topic's data" in stage.problem
        obstore.delete(stage.store, key)
        stage.time.passes(TRY_AGAIN_SECONDS)
        yield from stage.until(lambda: 0 in stage.partitions())
        yield quotes(0, 7)
        stage.time.passes(BATCH_AGE)
        yield from stage.until(lambda: stage.problem == "")
        assert (stage.partitions(), stage.partitions("_stopped")) == ([0, 1], [])
        assert stage.metric("partitions_stopped") == 0

    obstore.put(stage.store, key, b"[]", attributes=foreign)
    stage.admin.ends = {0: 8, 1: 6}
    group.has_committed({0: 7, 1: 5})
    with capture_logs() as lines:
        assert stage.play(script()) == EXIT_CLEAN
    assert [line["event"] for line in lines].count("partition stopped") == 1
    assert group.offsets == {0: 8, 1: 6}


def test_a_partition_whose_commit_is_held_stays_stopped(
    stage: Stage, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Event()

    def script() -> Script:
        yield group.assign(0)
        yield from stage.until(lambda: stage.partitions("_stopped") == [0])
        monkeypatch.setattr(CommitCheck, "_newest", lambda *_: {} if listed.wait(60) else None)
        stage.time.passes(TRY_AGAIN_SECONDS)
        yield from stage.until(lambda: 0 in stage.partitions())
        looks = stage.admin.looks
        yield from stage.until(lambda: stage.admin.looks > looks + 2)
        assert stage.partitions("_stopped") == [0]  # nothing is unread, but the commit may still be wrong
        listed.set()

    metadata = ObjectMetadata("t", "id", 0, 0, 2, 3, 0)
    key = object_key("crypto_data/", "crypto_data", 0, 0, 0)
    obstore.put(stage.store, key, b"[]", attributes=metadata.to_attributes())
    stage.consumer._commit_check = CommitCheck(stage.store, StorageSettings(), "id")
    stage.admin.ends = {0: 7}
    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_UNLANDED


def test_a_partition_whose_dead_letters_are_mended_goes_on_without_records(stage: Stage, group: Group) -> None:
    key = object_key("dead_letter/", "dead_letter", 0, 5, 0)

    def script() -> Script:
        yield group.assign(0)
        yield from stage.until(lambda: stage.partitions("_stopped") == [0])
        obstore.delete(stage.store, key)
        stage.admin.ends = {0: 0}
        stage.time.passes(TRY_AGAIN_SECONDS)
        yield from stage.until(lambda: stage.problem == "")

    obstore.put(stage.store, key, b"[]")
    assert stage.play(script()) == EXIT_CLEAN


def test_a_read_error_is_a_problem_until_the_partition_delivers(stage: Stage, group: Group) -> None:
    denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "Fetch from broker 1 failed: not authorized")

    def script() -> Script:
        yield group.assign(0, 1)
        yield []
        yield [Message(topic=TOPIC, partition=0, error=denied)]
        yield quotes(1, 5)
        stage.time.passes(600)
        yield []
        assert "partition 0 delivers nothing since Kafka reported: TOPIC_AUTHORIZATION_FAILED: " in stage.problem
        yield quotes(0, 7)
        assert "partition 0 delivers nothing" not in stage.problem

    group.has_committed({0: 7, 1: 5})
    stage.admin.ends = {1: 6}
    assert stage.play(script()) == EXIT_CLEAN


def test_a_read_error_is_over_when_nothing_is_unread(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0)
        stage.admin.ends = {0: 8}
        yield [Message(topic=TOPIC, partition=0, error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))]
        looks = stage.admin.looks
        yield from stage.until(lambda: stage.admin.looks > looks + 2)
        assert "partition 0 delivers nothing" in stage.problem  # offset 7 is unread
        stage.admin.ends = {0: 7}
        yield from stage.until(lambda: stage.problem == "")

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN


@pytest.mark.parametrize("code", [KafkaError.OFFSET_OUT_OF_RANGE, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_an_error_event_of_a_partition_that_moved_away_is_no_problem(stage: Stage, group: Group, code: int) -> None:
    def script() -> Script:
        yield group.assign(0, 1)
        group.revoke(0)
        yield [offset_error(0, code)]
        yield []
        assert (stage.problem, stage.partitions("_stopped")) == ("", [])

    stage.admin.ends = {1: 5}
    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_CLEAN


def test_a_topics_error_ends_for_a_process_without_partitions(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign()
        yield [offset_error(-1, KafkaError.UNKNOWN_TOPIC_OR_PART)]
        yield []
        assert "the topic delivers nothing since Kafka reported" in stage.problem
        yield from stage.until(lambda: stage.problem == "")

    assert stage.play(script()) == EXIT_CLEAN


def test_a_failed_commit_is_no_problem_once_its_partition_moved_away(stage: Stage, group: Group) -> None:
    def script() -> Script:
        yield group.assign(0, 1)
        yield []
        group.callbacks["on_commit"](KafkaError(KafkaError.ILLEGAL_GENERATION), places(0))
        stage.time.passes(11)
        assert "Kafka does not take commits: " in stage.problem
        yield group.revoke(0)
        assert stage.problem == ""

    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_CLEAN


# --- progress ----------------------------------------------------------------------


def test_a_partition_with_unread_records_that_stands_still_is_a_problem(stage: Stage, group: Group) -> None:
    def script() -> Script:
        stage.poll_seconds = 5
        stage.admin.ends = {0: 7, 1: 9}
        yield group.assign(0, 1)
        begin = stage.time()
        yield from stage.until(lambda: stage.time() - begin > 115)
        assert stage.problem == ""
        yield from stage.until(lambda: stage.problem != "")
        assert "partition 1 stands still" in stage.problem
        assert "read up to offset 5, landed up to 5, and its log ends at 9" in stage.problem
        assert "partition 0" not in stage.problem  # nothing is unread
        yield quotes(1, 5, 6)
        yield from stage.until(lambda: stage.problem == "")
        group.kafka.position.side_effect = lambda _: [TopicPartition(TOPIC, 1, 9)]  # the rest are markers
        stage.time.passes(200)
        yield from stage.until(lambda: stage.time() - begin > 1000)
        assert stage.problem == ""

    group.has_committed({0: 7, 1: 5})
    assert stage.play(script()) == EXIT_CLEAN


def test_a_batch_that_never_lands_is_a_problem_whatever_the_reason(
    stage: Stage, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = Event()
    monkeypatch.setattr(Sink, "_put_until_it_exists", lambda *_: never.wait(100) and None)

    def script() -> Script:
        stage.poll_seconds = 5
        stage.admin.ends = {0: 8}
        yield group.assign(0)
        yield quotes(0, 7)
        stage.time.passes(BATCH_AGE)
        yield from stage.until(lambda: "partition 0 stands still" in stage.problem)
        assert "read up to offset 8, landed up to 7, and its log ends at 8" in stage.problem
        yield group.lose(0)
        stage.time.passes(1)
        assert "stands still" not in stage.problem
        never.set()

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN


def test_a_partition_whose_end_kafka_does_not_say_is_a_problem(stage: Stage, group: Group) -> None:
    def script() -> Script:
        stage.poll_seconds = 5
        yield group.assign(0)
        yield from stage.until(lambda: "Kafka does not say where its log ends" in stage.problem)
        stage.admin.ends = {0: 7}
        yield from stage.until(lambda: stage.problem == "")

    group.has_committed({0: 7})
    assert stage.play(script()) == EXIT_CLEAN


def test_a_topic_that_is_deleted_is_named_in_health_and_log(stage: Stage, group: Group) -> None:
    def script() -> Script:
        stage.poll_seconds = 5
        stage.admin.ends = {0: 7}
        yield group.assign(0)
        yield from stage.until(lambda: stage.admin.looks > 1)
        stage.admin.exists = False
        yield group.lose(0)
        yield from stage.until(lambda: "is not in Kafka any more: it was deleted" in stage.problem)
        assert "dead" not in stage.problem
        stage.admin.exists = True
        yield from stage.until(lambda: "is not in Kafka" not in stage.problem)

    group.has_committed({0: 7})
    with capture_logs() as lines:
        assert stage.play(script()) == EXIT_CLEAN
    assert [line["event"] for line in lines].count("topic is gone") == 1
