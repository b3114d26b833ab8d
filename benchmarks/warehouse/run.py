"""Measures the warehouse on DuckDB: `make bench BENCH=warehouse`, or `python -m benchmarks.warehouse.run day|bronze`.

day      a day of quotes, one a second for each symbol: a first build, builds of 15 more minutes, one without new files
bronze   ten new files, with 100 and with 10,000 files loaded

The landed files (100 records each) are in versitygw, an S3 server that needs little CPU. With `--emulator` they are in
the laptop's AWS emulator, a pure-Python server on the same cores. Each build is one dbt command with its start, on a
project that was parsed before. The output shows seconds of wall time and of dbt's CPU time (user and system), and the
machine's load before the command.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import boto3
import obstore
from obstore.store import S3Store

from benchmarks.figures import Figures, Values
from benchmarks.landing.rig import KEYS, Gateway, memory_folder
from include.local.emulator import CREDENTIALS
from tests import servers
from tests.warehouse.landed_topic import LandedTopic, market_day, open_bucket, quote
from tests.warehouse.warehouse import DBT_PROJECT, Warehouse

DBT = Path(sys.executable).parent / "dbt"
LATER_BUILDS = 3
REPEATS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one dbt command, and the machine's load before it."""

    wall: float
    cpu: float
    load: float

    def __str__(self) -> str:
        return f"{self.wall:6.1f} s, {self.cpu:5.1f} s of CPU (load before: {self.load:.1f})"


def land(topic: LandedTopic, store: S3Store) -> int:
    """Land the topic's remaining records; returns the number of objects."""
    with ThreadPoolExecutor(8) as pool:
        return len(list(pool.map(lambda file: obstore.put(store, *file), topic.files())))


def dbt(warehouse: Warehouse, *arguments: str) -> Cost:
    """Run a dbt command."""
    command = [str(DBT), "--quiet", *arguments, "--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    command += ["--target-path", str(warehouse.artifacts), "--log-path", str(warehouse.artifacts)]
    warehouse.prepare()
    load, before, started = os.getloadavg()[0], resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | warehouse.variables(), stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, load)


def build(warehouse: Warehouse, *arguments: str) -> Cost:
    """Run `dbt build` as production does."""
    return dbt(warehouse, "build", "--exclude", "resource_type:unit_test", *arguments)


def open_new_bucket(bucket: str, endpoint: str) -> S3Store:
    """An empty bucket."""
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=bucket)
    return open_bucket(bucket, endpoint)


def a_day(folder: Path, endpoint: str) -> Values:
    """Measure the first build of a day, builds of 15 more minutes each, and a build without new files."""
    now = datetime.now(UTC).replace(microsecond=0)
    topic, second = LandedTopic(), timedelta(seconds=1)
    store = open_new_bucket("a-day", endpoint)
    market_day(topic, now - timedelta(days=1), hours=24, interval=second, faults=False)
    print(f"landed {land(topic, store)} files, {sum(map(len, topic.log.values()))} records", flush=True)
    warehouse = Warehouse(folder / "day", folder / "target", "a-day", endpoint)
    dbt(warehouse, "parse")
    first = build(warehouse)
    print(f"first build of the day      {first}", flush=True)
    walls = []
    for later in range(LATER_BUILDS):
        market_day(topic, now + later * timedelta(minutes=15), 0.25, second, seed=2 + later, faults=False)
        land(topic, store)
        walls.append((more := build(warehouse)).wall)
        print(f"build with 15 minutes more  {more}", flush=True)
    nothing = build(warehouse)
    print(f"build with nothing new      {nothing}", flush=True)
    return {
        "day.first_seconds": first.wall, "day.more_seconds": median(walls), "day.nothing_seconds": nothing.wall,
        "day.first_cpu_over_nothing": first.cpu / nothing.cpu, "day.more_over_nothing": median(walls) / nothing.wall,
    }  # fmt: skip


def bronze(folder: Path, endpoint: str) -> Values:
    """Build bronze with ten new files, alternately on a table of 100 files and on a table of 10,000 files."""
    now = datetime.now(UTC).replace(microsecond=0)
    warehouses: dict[int, tuple[Warehouse, LandedTopic, S3Store]] = {}
    for loaded in (100, 10_000):
        bucket = f"loaded-{loaded}"
        store, topic = open_new_bucket(bucket, endpoint), LandedTopic(cell=10)
        for n in range(loaded * 10):  # files of ten records, a file every twenty seconds
            at = now - timedelta(seconds=2 * (loaded * 10 - n))
            topic.send(quote("ETH", 3000.0 + n / 1000, at), at)
        land(topic, store)
        warehouse = Warehouse(folder / bucket, folder / "target", bucket, endpoint)
        build(warehouse, "--select", "crypto_raw")
        warehouses[loaded] = (warehouse, topic, store)
    costs: dict[int, list[Cost]] = {loaded: [] for loaded in warehouses}
    for repeat in range(REPEATS):
        for loaded, (warehouse, topic, store) in warehouses.items():
            for n in range(100):
                at = now + timedelta(seconds=200 * repeat + 2 * n)
                topic.send(quote("ETH", 3000.0 + n / 1000, at), at)
            land(topic, store)
            costs[loaded].append(dbt(warehouse, "run", "--select", "crypto_raw"))
    walls = {loaded: median(cost.wall for cost in runs) for loaded, runs in costs.items()}
    for loaded, runs in costs.items():
        seconds = ", ".join(f"{cost.wall:.2f}" for cost in runs)
        print(f"{loaded:6} files loaded, 10 new: {walls[loaded]:6.2f} s (runs: {seconds})", flush=True)
    by_name = {f"bronze.{loaded}_files_seconds": wall for loaded, wall in walls.items()}
    return by_name | {"bronze.10000_files_over_100": walls[10_000] / walls[100]}


@contextmanager
def s3_server(emulator: bool, folder: Path) -> Iterator[str]:
    """Start an S3 server and set its credentials in the environment; yields its endpoint."""
    os.environ |= {"AWS_DEFAULT_REGION": "us-east-1"} | (CREDENTIALS if emulator else KEYS)
    if emulator:
        with servers.aws_server(folder / "aws") as endpoint:
            yield endpoint
    else:
        gateway = Gateway(folder)
        gateway.start()
        try:
            yield gateway.endpoint
        finally:
            gateway.close()


BENCHMARKS = {"day": a_day, "bronze": bronze}


def figures(names: Iterable[str] = tuple(BENCHMARKS), emulator: bool = False) -> Figures:
    """The figures of the named parts."""
    values: Values = {}
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder, s3_server(emulator, Path(folder)) as endpoint:
        for name in names:
            values |= BENCHMARKS[name](Path(folder) / name, endpoint)
    return Figures(values)


def main() -> None:
    """Run the part that the command line names, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", nargs="?", choices=list(BENCHMARKS), help="default: both")
    parser.add_argument("--emulator", action="store_true")
    options = parser.parse_args()
    values = figures([options.benchmark] if options.benchmark else BENCHMARKS, options.emulator).values
    print("\n".join(f"{name}: {value:.2f}" for name, value in values.items()))


if __name__ == "__main__":
    main()
