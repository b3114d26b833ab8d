"""How many messages the consumer reads at once, so that one read takes a bounded memory. Pure, but for the allocator.

Kafka's client counts messages, and a message may be a thousand times larger than another. So the number follows the
size of the messages that were read last. It begins small and grows from read to read, because after a pause nobody
knows the size of what comes next.
"""

from __future__ import annotations

import ctypes
from typing import Any

MOST = 500
"""The messages of a larger read do not stay in the CPU's caches: in reads of a thousand each message costs an eighth
more CPU. In smaller reads each message pays more for the calls."""
FIRST = 32
"""Messages of the first read, and of a read after an empty one."""
SHARE = 1 / 8
"""Share of the cap for one read. A message is in memory as Kafka's client gave it, in its batch, and in the body of the
batch's PUT. Up to a quarter of the cap is read on (`pressure.THROTTLE_SHARE`), so all three stay within the cap."""
QUEUE_SHARE = 1 / 4
"""Share of the cap that librdkafka's queue takes besides, up to `MOST_QUEUED_BYTES`."""
MOST_QUEUED_BYTES = 16 * 2**20
"""A longer queue does not land faster."""
FETCH_SHARE = 1 / 8
"""Share of the cap of one answer of a broker, up to half of `MOST_QUEUED_BYTES`."""
LEAST_FETCH_BYTES = 2**20
"""librdkafka refuses a `fetch.max.bytes` below `message.max.bytes`, which is 1,000,000 by default."""
PARTITION_BYTES = 2**18
"""Bytes of one partition in an answer. A whole fetch is decompressed into the queue, even above the queue's limit:
librdkafka's default of 1 MB of compressed quotes took 24 MB a partition."""
ARENAS = 4
"""glibc gives each thread an arena of the heap, up to eight for each core, and an arena rarely shrinks: with large
messages half of the memory was in them. With two arenas the threads of the PUTs wait for each other: files of 100
records cost 4 % more CPU. With four they do not, and the memory is the same."""
MAPPED_BYTES = 2**17
"""Blocks from this size on go back to the system when they are freed. Without a fixed size glibc raises it to 32 MB."""
MAPPED_BYTES_OF_SMALL = 2**21
"""The same while messages are small. The body of 10,000 quotes has 1.4 MB: if it went back to the system, the kernel
would clear new pages for each body (7 % of the CPU). Large messages would leave holes of their size in the heap."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_TRIM_THRESHOLD and so on of glibc's malloc.h


class ReadSize:
    """The number of messages of the next read. Call `took` after each read."""

    def __init__(self, cap: int) -> None:
        """`cap`: bytes of messages that may be in memory."""
        self.count = FIRST
        self.are_small = False
        """Whether the messages that were read last are so small that their number is the limit, not their size."""
        self._bytes = cap * SHARE

    @property
    def is_full(self) -> bool:
        """Whether the number is the largest, so more messages probably wait."""
        return self.count == MOST

    def took(self, count: int, size: int) -> None:
        """The last read held `count` messages, which take `size` bytes of memory."""
        most = min(MOST, max(FIRST, 2 * count))
        if count and size:
            fitting = int(self._bytes * count / size)
            self.are_small = fitting >= MOST
            most = min(most, fitting)
        self.count = max(1, most)


def queue_config(cap: int) -> dict[str, Any]:
    """Settings of librdkafka that bound the messages that it holds, in bytes."""
    queued = min(MOST_QUEUED_BYTES, int(cap * QUEUE_SHARE))
    return {
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": queued // 1024,
        "fetch.max.bytes": max(LEAST_FETCH_BYTES, min(MOST_QUEUED_BYTES // 2, int(cap * FETCH_SHARE))),
        "max.partition.fetch.bytes": min(PARTITION_BYTES, queued),
    }


def bound_heap() -> None:
    """Make glibc keep few arenas and return large blocks. Call it before threads start; elsewhere it does nothing."""
    _set(_ARENA_MAX, ARENAS)
    return_blocks(are_small=False)


def return_blocks(*, are_small: bool) -> None:
    """Choose which blocks glibc returns, by the messages; also free bytes at a heap's end, by glibc's own rule."""
    size = MAPPED_BYTES_OF_SMALL if are_small else MAPPED_BYTES
    _set(_MMAP_THRESHOLD, size)
    _set(_TRIM_THRESHOLD, 2 * size)


def _set(parameter: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)
