"""A poll's messages are cut where the partition, the leader epoch or the sequence of offsets changes."""

from __future__ import annotations

from confluent_kafka import KafkaError, Message
from hypothesis import given
from hypothesis import strategies as st

from include.ingest.runs import cut, has_errors


def message(partition: int, offset: int, epoch: int | None = 1) -> Message:
    return Message(
        topic="t", partition=partition, offset=offset, value=b"%d" % offset, timestamp=(2, offset * 10),
        leader_epoch=epoch,
    )  # fmt: skip


def shape(messages: list[Message]) -> list[tuple[int, int, int | None, int]]:
    return [(block.partition, block.offset, block.epoch, len(block.values)) for block in cut(messages)]


def test_a_block_ends_with_its_partition_with_its_epoch_and_at_a_hole() -> None:
    assert shape([message(0, 5), message(0, 6), message(1, 7), message(0, 7)]) == [
        (0, 5, 1, 2),
        (1, 7, 1, 1),
        (0, 7, 1, 1),
    ]
    assert shape([message(0, 5, 1), message(0, 6, 2), message(0, 7, 2)]) == [(0, 5, 1, 1), (0, 6, 2, 2)]
    assert shape([message(0, 5), message(0, 7), message(0, 8), message(0, 6)]) == [
        (0, 5, 1, 1),
        (0, 7, 1, 2),
        (0, 6, 1, 1),
    ]
    assert shape([]) == []


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(1, 2))))
def test_nothing_is_left_out_or_moved(places: list[tuple[int, int, int]]) -> None:
    messages = [message(*place) for place in places]
    read = [
        (block.partition, block.offset + index, block.epoch)
        for block in cut(messages)
        for index in range(len(block.messages))
    ]  # fmt: skip
    assert read == places
    for block in cut(messages):
        assert block.values == [b"%d" % (block.offset + index) for index in range(len(block.values))]
        assert block.timestamps == [(block.offset + index) * 10 for index in range(len(block.values))]


def test_events_of_the_client_are_seen() -> None:
    event = Message(topic="t", partition=0, error=KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert has_errors([message(0, 1), event])
    assert not has_errors([message(0, 1)])
