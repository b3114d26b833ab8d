"""Cost of the S3 part of a run of the monitor, with few and with many older objects in the bucket.

    python -m benchmarks.monitoring.listing [--older 1000 10000 100000 1000000]

For each number it makes a bucket of versitygw with so many objects of earlier days and with 100 objects of the last
hour. Then it lists the bucket as the monitor does, and prints a line of JSON. The objects are files that are put into
the server's folder, because a million PUTs take long; those of earlier days are empty, because nothing reads them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3

from benchmarks.figures import Figures, Values, growth
from benchmarks.landing.rig import KEYS, Gateway, memory_folder
from include.landing.layout import object_key
from include.monitoring.checks import measure
from include.settings import StorageSettings, load

OLDER = (1_000, 10_000, 100_000, 1_000_000)
RECENT = 100
READINGS = 10


def fill(bucket: Path, older: int, now: datetime) -> None:
    """Make objects of earlier days, ten seconds apart, and `RECENT` objects of the last hour."""
    times = [now - timedelta(days=1, seconds=10 * index) for index in range(older)]
    times += [now - timedelta(seconds=30 * index) for index in range(RECENT)]
    for index, at in enumerate(times):
        file = bucket / object_key("crypto_data/", "crypto_data", 0, index, int(at.timestamp() * 1000))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"[]" if index >= older else b"")


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
    """The reading's figures for each number of older objects, and the most over the fewest."""
    counts, values = list(older), Values()
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        gateway = Gateway(Path(folder))
        gateway.start()
        os.environ |= KEYS | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": gateway.endpoint}
        try:
            for count in counts:
                os.environ["S3_BUCKET"] = bucket = f"older-{count}"
                boto3.client("s3").create_bucket(Bucket=bucket)
                fill(gateway.buckets / bucket, count, datetime.now(UTC))
                reading = read_arrivals(bucket)
                print(json.dumps({"older": count} | reading), flush=True)
                values |= {f"{count}.{name}": value for name, value in reading.items()}
        finally:
            gateway.close()
    return Figures(values | growth(values, "seconds", counts))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--older", type=int, nargs="+", default=OLDER)
    figures(parser.parse_args().older)


if __name__ == "__main__":
    main()
