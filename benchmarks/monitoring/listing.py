"""Cost of the S3 part of a run of the monitor, with few and with many older objects in the bucket.

    python -m benchmarks.monitoring.listing [--older 1000 10000 100000]

For each number it fills a bucket of the AWS emulator with so many objects of earlier days and with 100 objects of the
last hour. Then it lists the bucket as the monitor does, and prints a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import obstore
from obstore.store import S3Store

from benchmarks.figures import Figures, Values
from include.landing.layout import object_key
from include.local.emulator import CREDENTIALS
from include.monitoring.checks import measure
from include.settings import StorageSettings, load
from tests import servers

OLDER = (1_000, 10_000, 100_000)
RECENT = 100
READINGS = 10
AT_ONCE = 16


def fill(bucket: str, older: int, now: datetime) -> None:
    """Put objects of earlier days, ten seconds apart, and `RECENT` objects of the last hour."""
    times = [now - timedelta(days=1, seconds=10 * index) for index in range(older)]
    times += [now - timedelta(seconds=30 * index) for index in range(RECENT)]
    store = S3Store(
        bucket,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    async def put_all() -> None:
        async def put(worker: int) -> None:
            for index in range(worker, len(times), AT_ONCE):
                key = object_key("crypto_data/", "crypto_data", 0, index, int(times[index].timestamp() * 1000))
                await obstore.put_async(store, key, b"[]", use_multipart=False)

        await asyncio.gather(*(put(worker) for worker in range(AT_ONCE)))

    asyncio.run(put_all())


def read_arrivals(bucket: str) -> dict[str, float]:
    """Median seconds and LIST requests of one reading, and the numbers of objects that it listed and counted."""
    s3, requests = boto3.client("s3"), 0

    def count(**_: object) -> None:
        nonlocal requests
        requests += 1

    s3.meta.events.register("before-call.s3.ListObjectsV2", count)
    settings = load()
    assert settings.storage == StorageSettings(bucket=bucket)
    seconds = []
    for _ in range(READINGS):
        begin = time.perf_counter()
        arrivals = measure.landed(s3, settings, datetime.now(UTC))
        seconds.append(time.perf_counter() - begin)
    return {
        "seconds": round(statistics.median(seconds), 4),
        "list_requests": requests / READINGS,
        "listed": arrivals.listed,
        "objects": arrivals.objects,
    }


def figures(older: Iterable[int] = OLDER) -> Figures:
    """The reading's figures for each number of older objects, on the AWS emulator."""
    values: Values = {}
    with tempfile.TemporaryDirectory() as folder, servers.aws_server(Path(folder)) as endpoint:
        os.environ |= CREDENTIALS | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint}
        for count in older:
            bucket = f"listing-{uuid.uuid4().hex[:10]}"
            boto3.client("s3").create_bucket(Bucket=bucket)
            os.environ["S3_BUCKET"] = bucket
            fill(bucket, count, datetime.now(UTC))
            reading = read_arrivals(bucket)
            print(json.dumps({"older": count} | reading), flush=True)
            values |= {f"{count}.{name}": value for name, value in reading.items()}
    return Figures(values)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--older", type=int, nargs="+", default=OLDER)
    figures(parser.parse_args().older)


if __name__ == "__main__":
    main()
