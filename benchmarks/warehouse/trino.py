"""Measures what bronze reads on Athena's engine, and what compaction does: `python -m benchmarks.warehouse.trino`.

It uses the rig of tests/athena: the unchanged dbt-athena adapter, a real Trino, and the emulator. One lake has 100
loaded files, the other 1,000. A file has ten records and covers twenty seconds. Ten new files land in each lake, and
bronze runs. The output shows the splits, the bytes from S3 and the seconds of all queries of the run. A small file is
one split, so the splits are the opened files. Then bronze runs twenty times, and `maintain` compacts the table.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.figures import Figures, Values
from benchmarks.results import finish
from benchmarks.warehouse.run import land
from include.local.emulator import CREDENTIALS
from tests import servers
from tests.athena.rig import AthenaWarehouse, athena_warehouse, deploy_lake
from tests.warehouse.landed_topic import LandedTopic, open_bucket, quote

FEW, MANY = 100, 1_000
NEW_FILES = 10
RECORDS = 10
SMALL_RUNS = 20
EVERY = timedelta(seconds=2)
EXTERNAL = '"crypto_raw_data"'


@dataclass(frozen=True, slots=True)
class Run:
    """One run of bronze: opened landed files, all splits, bytes from S3, seconds."""

    files: int
    splits: int
    input_bytes: int
    seconds: float


class Lake:
    """A topic of one partition, its landed files, and bronze built from them."""

    def __init__(self, warehouse: AthenaWarehouse) -> None:
        self.warehouse = warehouse
        self.topic = LandedTopic(cell=RECORDS)
        self.store = open_bucket(warehouse.bucket, warehouse.endpoint)
        self.next = datetime.now(UTC).replace(microsecond=0)

    def land(self, files: int, start: datetime | None = None) -> None:
        """Land `files` more files, from `start` on if it is given."""
        self.next = start or self.next
        for _ in range(files * RECORDS):
            self.topic.send(quote("ETH", 3000.0 + self.next.timestamp() % 997, self.next), self.next)
            self.next += EVERY
        land(self.topic, self.store)

    def bronze(self) -> Run:
        """Run the model and return the cost of its queries."""
        before, started = len(self.warehouse.athena_api.queries), time.perf_counter()
        self.warehouse.dbt("run", "--select", "crypto_raw")
        seconds = time.perf_counter() - started
        queries = list(self.warehouse.athena_api.queries.values())[before:]
        answers = [(query.sql, query.outcome.answer) for query in queries if query.outcome]
        return Run(
            sum(answer.splits for sql, answer in answers if EXTERNAL in sql),
            sum(answer.splits for _, answer in answers),
            sum(answer.input_bytes for _, answer in answers),
            seconds,
        )

    def data_files(self) -> tuple[int, int]:
        """Number and bytes of bronze's files."""
        [(files, size)] = self.warehouse.query(
            'select count(*), sum(file_size_in_bytes) from lake_bronze."crypto_raw$files"'
        )
        return int(files), int(size)


def measure(folder: Path, loaded: int, pack: bool) -> tuple[Run, int]:
    """The cost of ten new files in a new lake with `loaded` files, and the number of its data files at the end."""
    folder.mkdir()
    with servers.aws_server(folder / "aws") as endpoint:
        bucket = f"loaded-{loaded}"
        deploy_lake(bucket, endpoint)
        with athena_warehouse(folder / "athena", endpoint, bucket) as warehouse:
            lake = Lake(warehouse)
            lake.land(loaded, start=lake.next - loaded * RECORDS * EVERY)
            lake.bronze()
            lake.land(NEW_FILES)
            lake.bronze()  # the first incremental run also compiles the model
            lake.land(NEW_FILES)
            run = lake.bronze()
            print(f"{loaded:6} files loaded, {NEW_FILES} new: {run}", flush=True)
            if pack:
                for _ in range(SMALL_RUNS):
                    lake.land(NEW_FILES)
                    lake.bronze()
                before = lake.data_files()
                warehouse.invoke("run-operation", "maintain")
                print(f"maintain: files and bytes {before} before, {lake.data_files()} after", flush=True)
            return run, lake.data_files()[0]


def figures(few: int = FEW, many: int = MANY) -> Figures:
    """Files, splits, bytes and seconds of a run after few and after many loaded files, and their ratios."""
    os.environ |= CREDENTIALS | {"AWS_DEFAULT_REGION": "us-east-1"}
    with tempfile.TemporaryDirectory() as name:
        runs = {loaded: measure(Path(name) / str(loaded), loaded, pack=loaded == few) for loaded in (few, many)}
    values: Values = {}
    for loaded, (run, data_files) in runs.items():
        costs = {"opened": run.files, "splits": run.splits, "bytes": run.input_bytes, "seconds": run.seconds}
        costs |= {"data_files": data_files}
        values |= {f"{loaded}_files.{name}": float(cost) for name, cost in costs.items()}
    for name in ("opened", "bytes", "seconds"):
        values[f"{name}_{many}_over_{few}"] = values[f"{many}_files.{name}"] / values[f"{few}_files.{name}"]
    return Figures(values)


def main() -> int:
    """Run the benchmark, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=FEW, help="files loaded in the first lake")
    parser.add_argument("--many", type=int, default=MANY, help="files loaded in the second lake")
    options = parser.parse_args()
    return finish("trino", figures(options.few, options.many))


if __name__ == "__main__":
    sys.exit(main())
