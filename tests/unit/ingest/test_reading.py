"""The number of messages of a read follows their size, and librdkafka's queue follows the cap."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from include.ingest.reading import FIRST, MOST, SHARE, ReadSize, queue_config

CAP = 64 * 2**20


def after(read: ReadSize, size: int, reads: int = 20) -> int:
    """The number of messages of the next read, after `reads` full reads of messages of `size` bytes."""
    for _ in range(reads):
        read.took(read.count, read.count * size)
    return read.count


@pytest.mark.parametrize("size", [100, 1_000, 10_000, 250_000, 1_000_000, 100_000_000])
def test_a_read_takes_at_most_its_share_of_the_cap(size: int) -> None:
    count = after(ReadSize(CAP), size)
    assert count * size <= max(CAP * SHARE, size)
    assert count == max(1, min(MOST, int(CAP * SHARE / size)))


def test_a_first_read_and_one_after_a_pause_are_small() -> None:
    read = ReadSize(CAP)
    assert read.count == FIRST
    assert after(read, 1_000) == MOST
    read.took(0, 0)
    assert read.count == FIRST


def test_reads_grow_again_once_messages_are_small() -> None:
    read = ReadSize(CAP)
    assert after(read, 250_000) == 33
    assert after(read, 200) == MOST


def test_messages_are_small_while_their_number_limits_a_read() -> None:
    read = ReadSize(CAP)
    assert not read.are_small, "nothing was read yet"
    for size, are_small in ((200, True), (16_000, True), (20_000, False), (250_000, False), (200, True)):
        after(read, size)
        assert read.are_small == are_small, size
    read.took(0, 0)
    assert read.are_small, "a pause says nothing about the messages"


def test_messages_that_take_no_memory_do_not_end_reading() -> None:
    read = ReadSize(CAP)
    read.took(read.count, 0)  # read before, after a seek
    assert read.count == 2 * FIRST


@pytest.mark.parametrize("cap", [2**20, 2**22, CAP, 2**30])
def test_kafkas_client_takes_the_bounds_of_every_cap(cap: int) -> None:
    config = queue_config(cap)
    assert config["queued.max.messages.kbytes"] * 1024 <= cap / 4
    Consumer(config | {"group.id": "g", "bootstrap.servers": "127.0.0.1:1", "log_level": 0}).close()
