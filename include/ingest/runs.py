"""Consecutive messages: the result of a poll of Kafka as columns, so that one call works on many messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, groupby
from operator import itemgetter, sub
from typing import Any, TypeVar

from confluent_kafka import Message

Value = TypeVar("Value")


def readable(read: Callable[[], Value], name: str, unreadable: list[str]) -> Value | None:
    """A part of a message; None if the client cannot return it: then a text that says so is added to `unreadable`.

    confluent-kafka 2.16 raises SystemError for headers of which a name is not UTF-8, and shows only the bytes of this
    name. A second call returns a broken list that ends the process when it is used, so read once.
    """
    try:
        return read()
    except (SystemError, ValueError) as error:
        cause = error.__cause__ or error
        content = f" in {cause.object!r}" if isinstance(cause, UnicodeDecodeError) else ""
        unreadable.append(f"{name} not readable, so not kept: {cause}{content}")
        return None


@dataclass(frozen=True, slots=True)
class ConsecutiveMessages:
    """Messages of one partition at consecutive offsets, the first at `offset`, all of one leader epoch.

    `timestamps` are Kafka's, ms since 1970; `values[i]` is None for a message without a value.
    """

    partition: int
    offset: int
    epoch: int | None
    timestamps: list[int]
    values: list[bytes | None]
    messages: list[Message]

    def unexpected(self, error: Exception) -> str:
        """Why the partition stops at these messages after an error that no rule foresees, and how it goes on."""
        last = self.offset + len(self.messages) - 1
        return (
            f"partition {self.partition}, offsets {self.offset} to {last}: unexpected {type(error).__name__}: {error}. "
            "Report it with the log's traceback. A restart tries again; to go on without these records: "
            f"python -m include.ingest adopt --partition {self.partition} --offset {last + 1}"
        )


def has_errors(messages: list[Message]) -> bool:
    """Whether any of them is not a message but an error event of librdkafka."""
    return any(map(Message.error, messages))


def cut(messages: list[Message]) -> Iterator[ConsecutiveMessages]:
    """Cut messages without errors where they are not consecutive; their order stays."""
    partitions = list(map(Message.partition, messages))
    if partitions and partitions.count(partitions[0]) == len(partitions):
        yield from _of_partition(partitions[0] or 0, messages)
        return
    begin = 0
    for partition, group in groupby(partitions):
        end = begin + len(list(group))
        yield from _of_partition(partition or 0, messages[begin:end])
        begin = end


def _of_partition(partition: int, messages: list[Message]) -> Iterator[ConsecutiveMessages]:
    offsets: list[Any] = list(map(Message.offset, messages))
    epoch = messages[0].leader_epoch()
    if messages[-1].leader_epoch() == epoch and offsets == list(range(offsets[0], offsets[0] + len(offsets))):
        yield _columns(partition, offsets[0], epoch, messages)  # epochs only grow with the offset
        return
    epochs = map(Message.leader_epoch, messages)
    begin = 0
    for (epoch, _), group in groupby(zip(epochs, map(sub, offsets, count()), strict=False)):
        end = begin + len(list(group))
        yield _columns(partition, offsets[begin], epoch, messages[begin:end])
        begin = end


def _columns(partition: int, offset: int, epoch: int | None, messages: list[Message]) -> ConsecutiveMessages:
    timestamps = list(map(itemgetter(1), map(Message.timestamp, messages)))
    values: list[Any] = list(map(Message.value, messages))
    return ConsecutiveMessages(partition, offset, epoch, timestamps, values, messages)
