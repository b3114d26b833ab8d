"""Where partitions start, while Kafka, S3 and the listing of landed objects are slow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, cast

import obstore
import pytest
from confluent_kafka import KafkaError, TopicPartition
from obstore.exceptions import GenericError

from include.ingest import placement as module
from include.ingest.metrics import ConsumerMetrics
from include.ingest.placement import RETRY_SECONDS, Placement
from include.ingest.starting_offset import ForeignCommitError
from include.ingest.topic import TopicError
from include.ingest.watchdog import Watchdog
from include.landing.contract import ContractError
from include.landing.layout import object_key
from include.landing.metadata import ObjectMetadata
from include.settings import ConsumerSettings, KafkaSettings, StorageSettings
from tests.unit.ingest.fake_kafka import LOADS, NO_LEADER, TOPIC, Admin, Group, Time, places
from tests.unit.ingest.memory_bucket import Bucket, Pages

FAR = 10**9
"""An offset of a later object, so far from the first object that nothing before the first object is missing."""


class Stage:
    """A placement between a fake Kafka and a bucket in memory, and what it has placed and stopped so far."""

    placement: Placement

    def __init__(self) -> None:
        self.group, self.admin, self.time, self.metrics = Group(), Admin(), Time(), ConsumerMetrics()
        self.store = cast("Any", Bucket())
        self.boot = 0.0
        self.starts: dict[int, int] = {}
        self.stopped: dict[int, str] = {}
        self._assignment = 0
        self.group.connect({"on_commit": self._committed})
        self.placement = Placement(
            KafkaSettings(topic=TOPIC), ConsumerSettings(), StorageSettings(), "read_committed",
            cast("Any", self.admin), lambda: self.group.kafka, self.store, self.metrics,
            Watchdog(30.0, lambda: self.boot), self.time,
        )  # fmt: skip
        self.placement.open()

    def _committed(self, error: KafkaError | None, commits: list[TopicPartition]) -> None:
        for commit in commits:
            self.placement.committed(commit, error)

    def assign(self, *partitions: int) -> list[int]:
        """Assign partitions; returns the offsets at which they start."""
        self._assignment += 1
        starts = self.placement.assign(self.group.kafka, places(*partitions), self._assignment)
        return [start.offset for start in starts]

    def place(self, after: float = RETRY_SECONDS) -> None:
        """Two turns of the loop: Kafka answers the commits of starts between them."""
        self.time.passes(after)
        for _ in range(2):
            starts, stopped = self.placement.place(self.group.kafka)
            self.starts |= {start.partition: start.offset for start in starts}
            self.stopped |= stopped
            self.group.answer_commits()

    def place_until(self, condition: Callable[[], bool]) -> None:
        deadline = monotonic() + 60
        while not condition():
            assert monotonic() < deadline
            self.place()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(module, "PROMPT_SECONDS", 60)  # the fakes answer at once, however slow the machine is
    return Stage()


# --- the contract ----------------------------------------------------------------


def test_the_contract_is_read_again_after_an_assignment_with_partitions(stage: Stage) -> None:
    stage.group.has_committed({0: 7})
    before = stage.admin.requests

    def mark_stale() -> None:
        stage.placement.contract_is_fresh = False

    was_done = [stage.placement.is_done]
    for event in (stage.assign, lambda: stage.assign(0), mark_stale):
        event()
        was_done.append(stage.placement.is_done)
        stage.place()
    assert was_done == [True, True, False, False]
    assert stage.placement.is_done
    assert stage.admin.requests == before + 2


def test_a_contract_that_was_resized_meanwhile_ends_the_consumer(stage: Stage) -> None:
    resized = stage.placement.contract.resized(200, {})
    obstore.put(stage.store, "crypto_data/_contract.json", resized.to_json())
    stage.placement.contract_is_fresh = False
    with pytest.raises(ContractError, match="start it again"):
        stage.place()


def test_a_contract_with_smaller_cells_than_our_batches_is_refused(stage: Stage) -> None:
    smaller = stage.placement.contract.resized(50, {})
    obstore.put(stage.store, "crypto_data/_contract.json", smaller.to_json())
    with pytest.raises(ContractError, match="CONSUMER_BATCH_RECORDS=100 is more than the prefix's cell size 50"):
        stage.placement.open()


def test_a_topic_that_is_gone_ends_the_consumer(stage: Stage) -> None:
    stage.admin.exists = False
    stage.placement.contract_is_fresh = False
    with pytest.raises(TopicError, match="not there"):
        stage.place()


def test_the_contract_alone_can_be_read_again(stage: Stage) -> None:
    stage.assign(0)
    starts, _ = stage.placement.place(stage.group.kafka, contract_only=True)
    assert (starts, list(stage.placement.waiting)) == ([], [0])
    assert stage.placement.contract_is_fresh


# --- commits ---------------------------------------------------------------------


def test_a_partition_with_a_commit_starts_there_and_others_wait(stage: Stage) -> None:
    stage.group.has_committed({1: 5})
    waiting, start = stage.assign(0, 1)
    assert (start, list(stage.placement.waiting)) == (5, [0])
    assert waiting < 0  # the log's beginning, which is not read


def test_a_commit_of_another_program_is_refused(stage: Stage) -> None:
    stage.group.commits[0] = TopicPartition(TOPIC, 0, 5, "another program")
    with pytest.raises(ForeignCommitError):
        stage.assign(0)


def test_a_start_that_kafka_did_not_commit_is_not_used(stage: Stage) -> None:
    stage.group.commit_errors = [KafkaError(KafkaError.NOT_COORDINATOR)]
    stage.assign(0)
    stage.place()
    assert stage.starts == {}
    stage.place()
    assert stage.starts == {0: 0}


def test_a_commit_of_a_start_that_is_not_even_sent_is_tried_again(stage: Stage) -> None:
    send = stage.group.kafka.commit.side_effect
    stage.group.kafka.commit.side_effect = NO_LEADER
    stage.assign(0)
    stage.place()
    stage.group.kafka.commit.side_effect = send
    stage.place_until(lambda: stage.starts == {0: 0})


def test_a_partition_without_a_leader_delays_no_other(stage: Stage) -> None:
    def watermarks(at: TopicPartition, **_: object) -> tuple[int, int]:
        if at.partition == 0 and leaderless:
            raise NO_LEADER
        return (3, 1000)

    leaderless = True
    stage.group.kafka.get_watermark_offsets.side_effect = watermarks
    stage.assign(0, 1)
    for _ in range(3):
        stage.place()
    assert stage.starts == {1: 3}
    leaderless = False
    stage.place()
    assert (stage.starts, stage.group.offsets[0]) == ({0: 3, 1: 3}, 3)


def test_a_seek_that_fails_is_tried_again(stage: Stage) -> None:
    stage.group.kafka.seek.side_effect = [NO_LEADER, None]
    stage.assign(0)
    stage.place()
    assert (stage.starts, list(stage.placement.waiting)) == ({}, [0])
    stage.place()
    assert (stage.starts, list(stage.placement.waiting)) == ({0: 0}, [])


def test_a_request_that_times_out_is_not_repeated_at_once(stage: Stage) -> None:
    """Otherwise a partition without a leader would leave the others only one poll between two of its time-outs."""

    def times_out(*_: object, **__: object) -> tuple[int, int]:
        stage.time.passes(10)
        raise NO_LEADER

    watermarks = stage.group.kafka.get_watermark_offsets
    watermarks.side_effect = times_out
    stage.assign(0)
    for _ in range(5):
        stage.place(after=0)
    assert watermarks.call_count == 1
    stage.place()
    assert watermarks.call_count == 2


def test_a_problem_is_named_once_it_has_lasted_and_ends_with_its_partition(stage: Stage) -> None:
    stage.group.failures = [LOADS] * 10
    stage.assign(0)
    stage.place()
    assert stage.placement.problems() == []
    stage.time.passes(11)
    (problem,) = stage.placement.problems()
    assert problem.startswith("landing waits: Kafka does not answer: ")
    stage.placement.place(stage.group.kafka, contract_only=True)
    stage.placement.forget(0)
    assert stage.placement.problems() == []


# --- listings --------------------------------------------------------------------


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> Iterator[Pages]:
    pages = Pages()
    monkeypatch.setattr(module, "LISTING_SECONDS", 0.05)
    monkeypatch.setattr(obstore, "list", pages.list)
    for partition in (0, 1):
        for offset in (500 + partition, FAR):
            obstore.put(stage.store, object_key("crypto_data/", "crypto_data", partition, offset, 0), b"")
    yield pages
    pages.open.set()


def put_letters_without_data(store: Any, topic_id: str, writer: str) -> None:
    """Dead letters of partition 1, after its last data object."""
    metadata = ObjectMetadata(TOPIC, topic_id, 1, FAR + 1, FAR + 8, 0, 1, writer).to_attributes()
    obstore.put(store, object_key("dead_letter/", "dead_letter", 1, FAR + 1, 0), b"[\n]", attributes=metadata)


def test_one_listing_finds_the_start_of_all_partitions_without_a_commit(stage: Stage, pages: Pages) -> None:
    pages.open.set()
    stage.assign(0, 1, 2)
    stage.place_until(lambda: stage.placement.is_done)
    assert pages.listings == 1
    assert stage.starts == stage.group.offsets == {0: 500, 1: 501, 2: 0}


def test_a_partition_does_not_start_before_a_range_that_adopt_skipped(stage: Stage, pages: Pages) -> None:
    pages.open.set()
    put_letters_without_data(stage.store, "id", "adopt")
    obstore.put(stage.store, object_key("dead_letter/", "dead_letter", 0, FAR, 0), b"[\n]")  # has a data object
    stage.assign(0, 1)
    stage.place_until(lambda: stage.placement.is_done)
    assert stage.group.offsets == {0: 500, 1: FAR + 9}


def test_dead_letters_of_a_consumer_without_data_let_nothing_be_skipped(stage: Stage, pages: Pages) -> None:
    pages.open.set()
    put_letters_without_data(stage.store, "id", "host:7")
    stage.assign(1)
    stage.place_until(lambda: stage.placement.is_done)
    assert stage.group.offsets == {1: 501}


def test_dead_letters_of_another_topic_stop_their_partition(stage: Stage, pages: Pages) -> None:
    pages.open.set()
    put_letters_without_data(stage.store, "before", "adopt")
    stage.assign(0, 1)
    stage.place_until(lambda: stage.placement.is_done)
    assert (stage.starts, stage.group.offsets) == ({0: 500}, {0: 500})
    assert "topic id before, expected topic id id" in stage.stopped[1]
    assert "out of S3_DEAD_LETTER_PREFIX" in stage.stopped[1]


def test_a_dead_letter_object_without_metadata_stops_its_partition_only(stage: Stage) -> None:
    obstore.put(stage.store, object_key("dead_letter/", "dead_letter", 0, 5, 0), b"[]")
    stage.assign(0, 1)
    stage.place_until(lambda: stage.placement.is_done)
    assert list(stage.starts) == [1]
    assert "dead_letter" in stage.stopped[0]


def test_a_partition_that_comes_back_during_a_listing_is_listed_again(stage: Stage, pages: Pages) -> None:
    stage.assign(0, 1)
    stage.place()
    stage.placement.forget(1)
    stage.assign(1)
    pages.open.set()
    stage.place_until(lambda: stage.placement.is_done)
    assert (sorted(stage.starts), pages.listings) == ([0, 1], 2)


def test_a_listing_that_s3_breaks_off_is_begun_again(stage: Stage, pages: Pages) -> None:
    pages.failures = [GenericError("503")]
    pages.open.set()
    stage.assign(0)
    stage.place_until(lambda: stage.placement.is_done)
    assert (stage.group.offsets[0], pages.listings, stage.metrics.total.errors) == (500, 2, 1)


def test_a_slow_listing_is_a_problem_and_not_begun_again(stage: Stage, pages: Pages) -> None:
    stage.assign(0)
    stage.place()
    stage.place()
    stage.time.passes(11)
    assert "landing waits: what is landed is being listed" in stage.placement.problems()[0]
    pages.open.set()
    stage.place_until(lambda: stage.placement.is_done)
    assert (stage.starts, pages.listings, stage.placement.problems()) == ({0: 500}, 1, [])


def test_a_closed_placement_reads_no_more_pages(stage: Stage, pages: Pages) -> None:
    put_letters_without_data(stage.store, "id", "adopt")
    stage.assign(0)
    stage.place()
    stage.placement.close()
    pages.open.set()
    deadline = monotonic() + 60
    while any(thread.name == "listing" for thread in threading.enumerate()):
        assert monotonic() < deadline
    assert pages.prefixes == ["dead_letter/"]
