"""The refusals, the output and the objects of `adopt` and `resize-cells`."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Event
from typing import Any
from unittest.mock import MagicMock

import obstore
import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from include.ingest import __main__ as program
from include.ingest import console, operate, topic
from include.ingest.adoption import OperationError
from include.ingest.logs import LIBRDKAFKA
from include.ingest.starting_offset import commit_metadata
from include.ingest.topic import TOPIC_CONFIG, TopicFacts
from include.landing.body import PLAIN
from include.landing.contract import NO_TOPIC_ID, CellSize, Contract
from include.landing.layout import Kind, object_key
from include.landing.metadata import ObjectMetadata
from include.settings import load
from tests.servers import free_port
from tests.unit.ingest.memory_bucket import Bucket

CONTRACT = Contract("c", "quotes", "id", ".json", "read_committed", (CellSize(100, {}),))
FACTS = TopicFacts("c", "quotes", "id", 6, TOPIC_CONFIG)


def put(store: Any, kind: Kind, first: int, last: int, rows: list[int], rejected: int) -> None:
    metadata = ObjectMetadata("quotes", "id", 0, first, last, len(rows), rejected, "test").to_attributes()
    lines = [b'{"_offset":%d}' % row for row in rows]
    key = object_key(f"{kind}/", kind, 0, first, 0)
    obstore.put(store, key, PLAIN.encode(lines), attributes=metadata)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bucket, with a contract; the command line opens it, too."""
    bucket = Bucket()
    obstore.put(bucket, "crypto_data/_contract.json", CONTRACT.to_json())
    monkeypatch.setattr(console, "open_store", lambda *_: bucket)
    return bucket


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """A stopped group at offset 0 of a log of 350 to 499."""
    consumer = MagicMock()
    consumer.committed.return_value = [TopicPartition("quotes", 0, 0, commit_metadata("id"))]
    consumer.get_watermark_offsets.return_value = (350, 500)
    consumer.poll.return_value = Message(topic="quotes", partition=0, offset=400, value=b"", timestamp=(2, 86_400_000))
    consumer.commit.return_value = []
    consumer.list_topics.return_value.topics = {"quotes": MagicMock(partitions=dict.fromkeys(range(FACTS.partitions)))}
    monkeypatch.setattr(operate, "KafkaConsumer", lambda _: consumer)
    monkeypatch.setattr(topic, "Admin", MagicMock())
    monkeypatch.setattr(topic, "describe", lambda *_: FACTS)
    monkeypatch.setattr(operate, "require_stopped", lambda *_: None)
    monkeypatch.setenv("KAFKA_TOPIC", "quotes")
    monkeypatch.setenv("S3_BUCKET", "bucket")
    return consumer


def contract_object(store: Any) -> bytes:
    return bytes(obstore.get(store, "crypto_data/_contract.json").bytes())


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The reason in the one line that the command logged."""
    (line,) = capsys.readouterr().err.splitlines()
    return str(json.loads(line)["reason"])


def gap_rows(store: Any) -> dict[str, list[tuple[int, int]]]:
    """First and last offset of each row of the dead-letter objects, by key."""
    paths = [entry["path"] for page in obstore.list(store, prefix="dead_letter/") for entry in page]
    contents = {path: bytes(obstore.get(store, path).bytes()) for path in paths}
    return {
        path: [(row["_offset"], row["last_offset"]) for row in PLAIN.decode(content)]
        for path, content in contents.items()
        if "_o00000000000000000305" not in path
    }


def test_gap_rows_are_written_once_though_the_commit_fails(store: Any, kafka: MagicMock) -> None:
    put(store, "crypto_data", 100, 199, [offset for offset in range(100, 200) if offset != 120], 1)
    put(store, "crypto_data", 305, 399, list(range(305, 400)), 1)
    put(store, "dead_letter", 305, 399, [303], 1)  # a hole before it
    kafka.commit.side_effect = [KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT)), []]
    operator = operate.Operator(load(), store)
    plan = operator.plan(0)
    assert (plan.target, plan.skipped) == (400, [(0, 99), (120, 120), (200, 302)])
    with pytest.raises(KafkaException):
        operator.carry_out(plan)
    operator.carry_out(plan)
    assert kafka.commit.call_args.kwargs["offsets"][0].offset == 400
    repeated = operator.plan(0)
    assert (repeated.target, repeated.skipped) == (400, [])
    assert gap_rows(store) == {
        object_key("dead_letter/", "dead_letter", 0, 0, 86_400_000): [(0, 99)],
        object_key("dead_letter/", "dead_letter", 0, 100, 0): [(120, 120)],
        object_key("dead_letter/", "dead_letter", 0, 200, 86_400_000): [(200, 302)],
    }


def test_a_consumers_dead_letters_do_not_count_as_gap_rows(store: Any, kafka: MagicMock) -> None:
    metadata = ObjectMetadata("quotes", "id", 0, 0, 49, 0, 1, "host:7").to_attributes()  # its data object is gone
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 0, 86_400_000), b"[]", attributes=metadata)
    operator = operate.Operator(load(), store)
    with pytest.raises(OperationError, match="a consumer wrote it, and its data object is gone"):
        operator.carry_out(operator.plan(0))
    kafka.commit.assert_not_called()


def test_adopt_names_dead_letters_of_another_topic(
    store: Any, kafka: MagicMock, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = ObjectMetadata("quotes", "before", 0, 0, 49, 0, 1, "host:7").to_attributes()
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 0, 0), b"[]", attributes=metadata)
    assert program.main(["adopt", "--partition", "0"]) == 2
    assert "topic id before, expected topic id id" in capsys.readouterr().err
    kafka.commit.assert_not_called()


@pytest.mark.parametrize(
    "command",
    [["adopt", "--partition", "0", "--yes"], ["resize-cells", "50", "--yes"]],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"topic": "trades"}, "topic='quotes', this consumer has 'trades'"),
        ({"topic_id": "recreated"}, "topic_id='id', this consumer has 'recreated'"),
        ({"topic_id": NO_TOPIC_ID}, "topic_id='id', this consumer has 'none'"),
        ({"cluster_id": "d"}, "cluster_id='c', this consumer has 'd'"),
    ],
)
def test_a_topic_that_is_not_the_contracts_is_refused(
    command: list[str],
    changes: dict[str, Any],
    text: str,
    store: Any,
    kafka: MagicMock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(topic, "describe", lambda *_: replace(FACTS, **changes))
    assert program.main(command) == 2
    assert text in refusal(capsys)
    assert contract_object(store) == CONTRACT.to_json()
    kafka.commit.assert_not_called()


@pytest.mark.usefixtures("kafka")
def test_topic_and_contract_without_an_id_match(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = Contract("c", "quotes", NO_TOPIC_ID, ".json.gz", "read_uncommitted", (CellSize(100, {}),))
    obstore.put(store, "crypto_data/_contract.json", contract.to_json())
    monkeypatch.setattr(topic, "describe", lambda *_: replace(FACTS, topic_id=NO_TOPIC_ID))
    assert operate.Operator(load(), store).contract == contract


@pytest.mark.parametrize("yes", [[], ["--yes"]], ids=["shown", "done"])
@pytest.mark.parametrize(
    ("size", "text"),
    [
        ("0", "cell size 0 is not allowed: CONSUMER_BATCH_RECORDS, which it limits, is 1 to 100000"),
        ("-5", "cell size -5 is not allowed"),
        ("100001", "cell size 100001 is not allowed"),
        ("100", "the cell size is 100 already"),
    ],
)
@pytest.mark.usefixtures("kafka")
def test_a_present_or_impossible_cell_size_is_refused(
    size: str, text: str, yes: list[str], store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["resize-cells", size, *yes]) == 2
    assert text in refusal(capsys)
    with pytest.raises(OperationError, match=text):
        operate.Operator(load(), store).resize(int(size))
    assert contract_object(store) == CONTRACT.to_json()


@pytest.mark.parametrize("size", [1, 100_000])
def test_cells_of_an_allowed_size_begin_at_the_logs_end(store: Any, kafka: MagicMock, size: int) -> None:
    kafka.list_topics.return_value.topics = {"quotes": MagicMock(partitions={0: None})}
    operate.Operator(load(), store).resize(size)
    assert Contract.from_json(contract_object(store)).cells == (CellSize(100, {}), CellSize(size, {0: 500}))


@pytest.mark.usefixtures("kafka")
def test_the_kafka_clients_log_by_our_logger(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, consumer = MagicMock(), MagicMock()
    monkeypatch.setattr(topic, "Admin", admin)
    monkeypatch.setattr(operate, "KafkaConsumer", consumer)
    operate.Operator(load(), store)
    assert admin.call_args.args[0]["logger"] is LIBRDKAFKA
    assert consumer.call_args.args[0]["logger"] is LIBRDKAFKA


@pytest.mark.usefixtures("store")
def test_an_absent_kafka_is_reported_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    monkeypatch.setattr(operate, "SECONDS", 1.0)
    assert program.main(["adopt"]) == 2
    text = capsys.readouterr().err
    assert "Kafka does not answer" in text
    assert "Connection refused" in text


def test_the_help_of_adopt_says_reset_offsets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["adopt", "--help"])
    assert "reset offsets" in capsys.readouterr().out.lower()


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("number", [6, 7, -1])
def test_adopt_names_the_partitions_that_there_are(
    kafka: MagicMock, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    assert program.main(["adopt", "--partition", str(number), "--yes"]) == 2
    assert json.loads(capsys.readouterr().err)["reason"] == (
        f"partition {number} is not in topic 'quotes', which has the partitions 0 to 5: give --partition one of them"
    )
    kafka.commit.assert_not_called()


def test_a_silent_kafka_does_not_hold_an_adoption(
    store: Any, kafka: MagicMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Event()
    kafka.commit.side_effect = lambda **_: answers.wait(120) and []
    kafka.close.side_effect = lambda: answers.wait(120)
    monkeypatch.setattr(operate, "COMMIT_SECONDS", 0.1)
    monkeypatch.setattr(operate, "SECONDS", 0.1)
    operator = operate.Operator(load(), store)
    with pytest.raises(OperationError, match=r"partition 0: Kafka did not answer the commit of 350.*again"):
        operator.carry_out(operator.plan(0))
    operator.close()
    answers.set()
