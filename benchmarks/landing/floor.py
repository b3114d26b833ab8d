"""The floor: a program that only polls, validates, joins, PUTs, and commits in order.

The floor does not give the guarantees of our consumer: it has no cells, no create-only keys, no dead letters and no
coordinates in the rows. It reads one partition.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
import obstore
from confluent_kafka import Consumer, TopicPartition
from obstore.store import S3Store

from include.ingest.quote import Quote


def main() -> None:
    """Run until SIGTERM. The settings are the environment's BOOTSTRAP, TOPIC, GROUP, SIZE, BUCKET and S3."""
    topic, size = os.environ["TOPIC"], int(os.environ["SIZE"])
    store = S3Store(
        os.environ["BUCKET"], endpoint=os.environ["S3"], region="us-east-1", virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )  # fmt: skip
    consumer = Consumer(
        {"bootstrap.servers": os.environ["BOOTSTRAP"], "group.id": os.environ["GROUP"], "auto.offset.reset": "earliest",
         "enable.auto.commit": False, "queued.min.messages": 100_000, "fetch.queue.backoff.ms": 5}
    )  # fmt: skip
    consumer.subscribe([topic])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    decode = msgspec.json.Decoder(Quote).decode
    pool, flying = ThreadPoolExecutor(8), deque[tuple[Future[Any], int]]()
    batch: list[bytes] = []
    first = -1
    while True:
        for message in consumer.consume(min(size, 10_000), 0.5):
            value: Any = message.value()
            try:
                decode(value)
            except msgspec.MsgspecError:
                continue
            if first < 0:
                first = message.offset() or 0
            batch.append(value)
            if len(batch) >= size:
                put = pool.submit(
                    obstore.put, store, f"floor/{topic}-{first:020d}.json", b"[" + b",".join(batch) + b"]",
                    use_multipart=False,
                )  # fmt: skip
                flying.append((put, (message.offset() or 0) + 1))
                batch, first = [], -1
        last = None
        while flying and (flying[0][0].done() or len(flying) > 32):
            put, last = flying.popleft()
            put.result()
        if last is not None:
            consumer.commit(offsets=[TopicPartition(topic, 0, last)], asynchronous=True)


if __name__ == "__main__":
    main()
