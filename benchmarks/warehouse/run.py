"""What the warehouse costs on DuckDB, over the emulator's S3.

    python -m benchmarks.warehouse.run day      a day of quotes, one a second and symbol: first and later builds
    python -m benchmarks.warehouse.run bronze   ten new files, with 100 and with 10,000 files loaded

Prints seconds of wall time as a table; every build is a dbt command of its own, start-up included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import obstore
from obstore.store import S3Store

from include.local.emulator import CREDENTIALS
from tests import servers
from tests.warehouse.landed_topic import LandedTopic, market_day, open_bucket, quote
from tests.warehouse.warehouse import DBT_PROJECT, Warehouse

BUCKET = "benchmark"
DBT = Path(sys.executable).parent / "dbt"
REPEATS = 3


def land(topic: LandedTopic, store: S3Store) -> int:
    """Write what has not landed; returns the number of objects."""
    with ThreadPoolExecutor(8) as pool:
        return len(list(pool.map(lambda file: obstore.put(store, *file), topic.files())))


def seconds(warehouse: Warehouse, *arguments: str) -> float:
    """Wall time of a dbt command."""
    command = [str(DBT), "--quiet", *arguments, "--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    command += ["--target-path", str(warehouse.artifacts), "--log-path", str(warehouse.artifacts)]
    warehouse.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | warehouse.variables(), stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def build(warehouse: Warehouse, *arguments: str) -> float:
    """Wall time of `dbt build` as production runs it."""
    return seconds(warehouse, "build", "--exclude", "resource_type:unit_test", *arguments)


def a_day(folder: Path, endpoint: str, store: S3Store) -> None:
    """First build of a day, a build with a quarter of an hour more, and one with nothing new."""
    now = datetime.now(UTC).replace(microsecond=0)
    topic = LandedTopic()
    market_day(topic, now - timedelta(days=1), hours=24, interval=timedelta(seconds=1), faults=False)
    print(f"landed {land(topic, store)} files, {sum(map(len, topic.log.values()))} records")
    warehouse = Warehouse(folder / "day", folder / "target", BUCKET, endpoint)
    seconds(warehouse, "parse")
    print(f"first build of the day        {build(warehouse):6.1f} s")
    market_day(topic, now, hours=0.25, interval=timedelta(seconds=1), seed=2, faults=False)
    land(topic, store)
    print(f"build with 15 minutes more    {build(warehouse):6.1f} s")
    print(f"build with nothing new        {build(warehouse):6.1f} s")


def bronze(folder: Path, endpoint: str, store: S3Store) -> None:
    """Bronze alone: ten new files on top of 100 and of 10,000."""
    now = datetime.now(UTC).replace(microsecond=0)
    medians = {}
    for loaded in (100, 10_000):
        bucket = f"{BUCKET}-{loaded}"
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=bucket)
        store = open_bucket(bucket, endpoint)
        topic = LandedTopic(cell=10)
        for n in range(loaded * 10):  # files of ten records, a file every twenty seconds
            at = now - timedelta(seconds=2 * (loaded * 10 - n))
            topic.send(quote("ETH", 3000.0 + n / 1000, at), at)
        land(topic, store)
        warehouse = Warehouse(folder / bucket, folder / "target", bucket, endpoint)
        build(warehouse, "--select", "crypto_raw")
        times = []
        for repeat in range(REPEATS):
            for n in range(100):
                at = now + timedelta(seconds=200 * repeat + 2 * n)
                topic.send(quote("ETH", 3000.0 + n / 1000, at), at)
            land(topic, store)
            times.append(seconds(warehouse, "run", "--select", "crypto_raw"))
        medians[loaded] = sorted(times)[REPEATS // 2]
        print(f"{loaded:6} files loaded, 10 new: {medians[loaded]:6.2f} s (runs: {[round(t, 2) for t in times]})")
    print(f"ratio: {medians[10_000] / medians[100]:.2f} (at most 1.5)")


def main() -> None:
    """Run one benchmark on an emulator of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=["day", "bronze"])
    chosen = parser.parse_args().benchmark
    os.environ |= CREDENTIALS | {"AWS_DEFAULT_REGION": "us-east-1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "aws").mkdir()
        with servers.aws_server(folder / "aws") as endpoint:
            boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
            {"day": a_day, "bronze": bronze}[chosen](folder, endpoint, open_bucket(BUCKET, endpoint))


if __name__ == "__main__":
    main()
