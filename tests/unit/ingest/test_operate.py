"""Where `adopt` goes on, and what `require_fit` refuses."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any
from unittest.mock import MagicMock

import obstore
import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from include.ingest import __main__ as cli
from include.ingest import console, operate, topic
from include.ingest.logs import LIBRDKAFKA
from include.ingest.operate import Landed, OperationError, Plan, decide, landed_to
from include.ingest.starting_offset import OffsetRange, commit_metadata
from include.ingest.topic import TOPIC_CONFIG, TopicError, TopicFacts, require_fit
from include.landing.body import PLAIN
from include.landing.cells import Cells
from include.landing.contract import NO_TOPIC_ID, CellSize, Contract
from include.landing.layout import Kind, object_key
from include.landing.metadata import ObjectMetadata
from include.settings import load
from tests.servers import free_port
from tests.unit.ingest.memory_bucket import Bucket

CELLS = Cells.of_size(100)


def objects(*ranges: tuple[int, int]) -> list[Landed]:
    return [Landed(first, first, last) for first, last in ranges]


def plan(begin: int | None, landed: list[Landed], log: tuple[int, int], offset: int | None = None, **how: Any) -> Plan:
    return decide(
        0, begin=begin, landed=landed, log=log, offset=offset, cells=CELLS, **({"committed": 0, "ours": True} | how)
    )


def test_landed_ranges_are_followed_to_the_first_hole() -> None:
    chain = objects((100, 149), (150, 199), (300, 399))
    assert landed_to(chain, 100) == 200
    assert landed_to(chain, 150) == 200
    assert landed_to(chain, 250) == 250
    assert landed_to([], None) is None
    assert landed_to([Landed(0, 0, 9), Landed(10, 10, 19, ((12, 12),))], 0) == 10
    assert landed_to([Landed(0, 0, 9), Landed(10, 12, 19)], 0) == 20  # a hole that the object accounts for


@pytest.mark.parametrize(
    ("committed", "landed", "low", "offset", "target", "holes"),
    [
        (5, None, 0, None, 5, ()),  # a foreign commit, nothing landed
        (5, None, 8, None, 8, ()),
        (50, 20, 0, None, 20, ()),  # landed data decide, not the commit
        (20, 20, 60, None, 60, ((20, 59),)),  # retention has overtaken the group
        (20, 20, 0, 30, 30, ((20, 29),)),  # the operator skips
    ],
)
def test_where_it_goes_on(
    committed: int, landed: int | None, low: int, offset: int | None, target: int, holes: tuple[OffsetRange, ...]
) -> None:
    there = objects((0, landed - 1)) if landed else []
    found = plan(0 if landed else None, there, (low, 100), offset, committed=committed, ours=False)
    assert (found.target, found.holes) == (target, holes)


@pytest.mark.parametrize("low", [0, 150])
def test_it_never_goes_on_inside_an_object(low: int) -> None:
    found = plan(0, objects((100, 199)), (low, 300), offset=None if low else 150)
    assert (found.target, found.holes) == (200, ((0, 99),))


def test_after_a_foreign_commit_the_first_cell_may_be_missing() -> None:
    found = plan(0, objects((100, 199)), (0, 300), committed=250, ours=False)
    assert (found.target, found.holes) == (0, ())


def test_nothing_is_landed_into_an_object_that_begins_inside_a_cell() -> None:
    found = plan(0, objects((105, 199)), (0, 300), committed=-1001, ours=False)
    assert (found.target, found.holes) == (105, ((0, 104),))


def test_missing_dead_letters_are_given_up_only_when_asked_for() -> None:
    there = [Landed(100, 100, 199, ((120, 120), (170, 171)), "key")]
    with pytest.raises(OperationError, match=r"100 to 199.*--offset 200"):
        plan(0, there, (150, 300))
    found = plan(0, there, (150, 300), 200)
    assert (found.target, found.given_up) == (200, [(0, 99), (120, 120), (170, 171)])


@pytest.mark.parametrize(("offset", "text"), [(19, "twice"), (101, "outside the log")])
def test_what_it_refuses(offset: int, text: str) -> None:
    with pytest.raises(OperationError, match=text):
        plan(0, objects((0, 19)), (0, 100), offset, committed=20)


@st.composite
def partitions(draw: st.DrawFn) -> tuple[list[Landed], int, int]:
    """Objects as writers leave them, from a start on: each cell holds an unbroken chain from its beginning, or none."""
    start = draw(st.integers(0, 25))
    landed: list[Landed] = []
    for cell in range(6):
        at, end = max(cell * 10, start), cell * 10 + 10
        while at < end and draw(st.booleans()):
            last = draw(st.integers(at, end - 1))
            lacks = ((at, at),) if draw(st.integers(0, 4)) == 0 else ()
            landed.append(Landed(at, at, last, lacks, "key"))
            at = last + 1
    return landed, start, draw(st.integers(start, 60))


@given(partitions(), st.booleans(), st.none() | st.integers(0, 60))
def test_nothing_is_landed_twice_and_what_is_given_up_has_one_row(
    there: tuple[list[Landed], int, int], ours: bool, offset: int | None
) -> None:
    landed, start, low = there
    cells = Cells.of_size(10)
    arguments: dict[str, Any] = {"ours": ours, "log": (low, 60), "cells": cells, "committed": start}
    try:
        found = decide(0, begin=start, landed=landed, offset=offset, **arguments)
    except OperationError:
        return
    assert found.landed_to is not None
    assert low <= found.target <= 60
    rows = Counter(at for first, last in found.given_up for at in range(first, last + 1))
    held = {at for one in landed for at in range(one.first, one.last + 1)}
    held -= {at for one in landed for first, last in one.lacks for at in range(first, last + 1)}
    for at in range(found.landed_to, found.target):
        assert rows[at] + (at in held) == 1
    assert all(found.landed_to <= at < found.target for at in rows)
    position = found.target  # a writer with the largest batches; it finds the objects that begin where it does
    by_first = {one.first: one for one in landed}
    while position < 60:
        last = by_first[position].last if position in by_first else cells.bounds(position)[1] - 1
        if position not in by_first:
            assert held.isdisjoint(range(position, last + 1))
        position = last + 1
    again = [*landed, *(Landed(first, first, last, given_up=True) for first, last in found.holes)]
    again = [replace(one, lacks=()) if one in found.incomplete else one for one in again]
    repeated = decide(0, begin=start, landed=sorted(again, key=lambda one: one.first), offset=None, **arguments)
    assert repeated.given_up == []


def put(store: Any, kind: Kind, first: int, last: int, rows: list[int], rejected: int) -> None:
    metadata = ObjectMetadata("quotes", "id", 0, first, last, len(rows), rejected, "test").to_attributes()
    lines = [b'{"_offset":%d}' % row for row in rows]
    key = object_key(f"{kind}/", kind, 0, first, 0)
    obstore.put(store, key, PLAIN.encode(lines), attributes=metadata)


@pytest.fixture
def store() -> Any:
    made = Bucket()
    contract = Contract("c", "quotes", "id", ".json", "read_committed", (CellSize(100, {}),))
    obstore.put(made, "crypto_data/_contract.json", contract.to_json())
    return made


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """A stopped group at offset 0 of a log of 350 to 499."""
    made = MagicMock()
    made.committed.return_value = [TopicPartition("quotes", 0, 0, commit_metadata("id"))]
    made.get_watermark_offsets.return_value = (350, 500)
    made.poll.return_value = Message(topic="quotes", partition=0, offset=400, value=b"", timestamp=(2, 86_400_000))
    made.commit.return_value = []
    monkeypatch.setattr(operate, "KafkaConsumer", lambda _: made)
    monkeypatch.setattr(topic, "Admin", MagicMock())
    monkeypatch.setattr(topic, "describe", lambda *_: facts())
    monkeypatch.setattr(operate, "require_stopped", lambda *_: None)
    monkeypatch.setenv("KAFKA_TOPIC", "quotes")
    monkeypatch.setenv("S3_BUCKET", "bucket")
    return made


def test_gap_rows_are_written_once_though_the_commit_fails(store: Any, kafka: MagicMock) -> None:
    put(store, "crypto_data", 100, 199, [offset for offset in range(100, 200) if offset != 120], 1)
    put(store, "crypto_data", 305, 399, list(range(305, 400)), 1)
    put(store, "dead_letter", 305, 399, [303], 1)  # a hole before it
    kafka.commit.side_effect = [KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT)), []]
    ours = operate.Operator(load(), store)
    plan = ours.plan(0)
    assert (plan.target, plan.given_up) == (400, [(0, 99), (120, 120), (200, 302)])
    with pytest.raises(KafkaException):
        ours.carry_out(plan)
    ours.carry_out(plan)
    assert kafka.commit.call_args.kwargs["offsets"][0].offset == 400
    repeated = ours.plan(0)
    assert (repeated.target, repeated.given_up) == (400, [])
    rows = {
        entry["path"]: [(row["_offset"], row["last_offset"]) for row in PLAIN.decode(found)]
        for page in obstore.list(store, prefix="dead_letter/")
        for entry in page
        if "_o00000000000000000305" not in entry["path"]
        for found in [bytes(obstore.get(store, entry["path"]).bytes())]
    }
    assert rows == {
        object_key("dead_letter/", "dead_letter", 0, 0, 86_400_000): [(0, 99)],
        object_key("dead_letter/", "dead_letter", 0, 100, 0): [(120, 120)],
        object_key("dead_letter/", "dead_letter", 0, 200, 86_400_000): [(200, 302)],
    }


def test_dead_letters_of_a_consumer_are_not_taken_for_the_rows_of_what_is_given_up(
    store: Any, kafka: MagicMock
) -> None:
    metadata = ObjectMetadata("quotes", "id", 0, 0, 49, 0, 1, "host:7").to_attributes()  # its data object is gone
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 0, 86_400_000), b"[]", attributes=metadata)
    ours = operate.Operator(load(), store)
    with pytest.raises(OperationError, match="a consumer wrote it, and its data object is gone"):
        ours.carry_out(ours.plan(0))
    kafka.commit.assert_not_called()


def test_adopt_says_that_dead_letters_are_of_another_topic(
    store: Any, kafka: MagicMock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = ObjectMetadata("quotes", "before", 0, 0, 49, 0, 1, "host:7").to_attributes()
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 0, 0), b"[]", attributes=metadata)
    monkeypatch.setattr(console, "open_store", lambda *_: store)
    assert cli.main(["adopt", "--partition", "0"]) == 2
    assert "topic id before, expected topic id id" in capsys.readouterr().err
    kafka.commit.assert_not_called()


OPERATIONS = (["adopt", "--partition", "0", "--yes"], ["resize-cells", "50", "--yes"])


@pytest.mark.parametrize("command", OPERATIONS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"topic": "trades"}, "topic='quotes', this consumer has 'trades'"),
        ({"topic_id": "anew"}, "topic_id='id', this consumer has 'anew'"),
        ({"topic_id": NO_TOPIC_ID}, "topic_id='id', this consumer has 'none'"),
        ({"cluster_id": "d"}, "cluster_id='c', this consumer has 'd'"),
    ],
)
def test_another_topic_than_the_contracts_is_refused_before_anything_is_shown(
    command: list[str],
    changes: dict[str, Any],
    told: str,
    store: Any,
    kafka: MagicMock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(topic, "describe", lambda *_: replace(facts(), **changes))
    monkeypatch.setattr(console, "open_store", lambda *_: store)
    before = contract_object(store)
    assert cli.main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in json.loads(line)["reason"]
    assert contract_object(store) == before
    kafka.commit.assert_not_called()


@pytest.mark.usefixtures("kafka")
def test_a_topic_without_an_id_is_the_contracts_when_that_has_none_either(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = Contract("c", "quotes", NO_TOPIC_ID, ".json.gz", "read_uncommitted", (CellSize(100, {}),))
    obstore.put(store, "crypto_data/_contract.json", contract.to_json())
    monkeypatch.setattr(topic, "describe", lambda *_: facts(NO_TOPIC_ID))
    assert operate.Operator(load(), store).contract == contract


@pytest.mark.parametrize("yes", [[], ["--yes"]], ids=["shown", "done"])
@pytest.mark.parametrize(
    ("size", "told"),
    [
        ("0", "cell size 0 is not allowed: CONSUMER_BATCH_RECORDS, which it limits, is 1 to 100000"),
        ("-5", "cell size -5 is not allowed"),
        ("100001", "cell size 100001 is not allowed"),
        ("100", "the cell size is 100 already"),
    ],
)
@pytest.mark.usefixtures("kafka")
def test_a_cell_size_that_is_no_change_or_not_allowed_is_refused_before_anything_is_shown(
    size: str,
    told: str,
    yes: list[str],
    store: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(console, "open_store", lambda *_: store)
    before = contract_object(store)
    assert cli.main(["resize-cells", size, *yes]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in json.loads(line)["reason"]
    assert contract_object(store) == before
    with pytest.raises(OperationError, match=told):
        operate.Operator(load(), store).resize(int(size))
    assert contract_object(store) == before


@pytest.mark.parametrize("size", [1, 100_000])
def test_cells_of_an_allowed_size_begin_at_the_logs_end(store: Any, kafka: MagicMock, size: int) -> None:
    kafka.list_topics.return_value.topics = {"quotes": MagicMock(partitions={0: None})}
    operate.Operator(load(), store).resize(size)
    assert Contract.from_json(contract_object(store)).cells == (CellSize(100, {}), CellSize(size, {0: 500}))


def contract_object(store: Any) -> bytes:
    return bytes(obstore.get(store, "crypto_data/_contract.json").bytes())


@pytest.mark.usefixtures("kafka")
def test_its_kafka_clients_log_as_we_do(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, consumer = MagicMock(), MagicMock()
    monkeypatch.setattr(topic, "Admin", admin)
    monkeypatch.setattr(operate, "KafkaConsumer", consumer)
    operate.Operator(load(), store)
    assert admin.call_args.args[0]["logger"] is LIBRDKAFKA
    assert consumer.call_args.args[0]["logger"] is LIBRDKAFKA


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


def test_a_kafka_that_is_away_is_told_with_the_reason(
    store: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    monkeypatch.setattr(operate, "SECONDS", 1.0)
    monkeypatch.setattr(console, "open_store", lambda *_: store)
    assert cli.main(["adopt"]) == 2
    told = capsys.readouterr().err
    assert "Kafka does not answer" in told
    assert "Connection refused" in told
