"""`make bench`: runs the benchmarks in turn, keeps their figures, and fails when a bound is broken.

    python -m benchmarks [NAME ...]

A benchmark is a module with a function `figures` without arguments. Each runs in a process of its own, because Airflow,
dbt and the servers' settings leave global state. Its result goes to .local/bench/results/NAME.json; `python -m
benchmarks.report` makes docs/performance.md of these files.

Exit status: 0 if every bound of benchmarks/bounds.toml is met, 1 if a bound is broken or a benchmark failed, 2 if none
is broken but some figures were not measured.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys

from benchmarks.figures import Figures
from benchmarks.results import Result, finish, write

MODULES = {
    "landing": "benchmarks.landing.__main__",
    "latency": "benchmarks.latency.__main__",
    "transform": "benchmarks.dags.runs",
    "parse": "benchmarks.dags.parse",
    "idle": "benchmarks.dags.idle",
    "listing": "benchmarks.monitoring.listing",
    "partitions": "benchmarks.monitoring.partitions",
    "page": "benchmarks.page",
    "warehouse": "benchmarks.warehouse.run",
    "trino": "benchmarks.warehouse.trino",
    "audit": "benchmarks.audit",
    "soak": "benchmarks.soak.__main__",
}
"""Name of a benchmark -> its module."""
ONLY_WHEN_NAMED = ("soak",)
"""It takes an hour."""


def run_here(name: str) -> int:
    """Run one benchmark in this process; returns the exit status."""
    load = os.getloadavg()[0]
    figures: Figures = importlib.import_module(MODULES[name]).figures()
    print(f"figures: {write(Result.of(name, load, figures))}")
    return finish(name, figures)


def run(names: list[str]) -> int:
    """Run the benchmarks in turn, also after one that failed; returns the worst exit status."""
    statuses = {}
    for name in names:
        print(f"== {name} begins", flush=True)
        statuses[name] = subprocess.run([sys.executable, "-m", "benchmarks", "--here", name], check=False).returncode
    print("\n".join(f"== {name}: {WORDS.get(status, f'failed with {status}')}" for name, status in statuses.items()))
    return worst(list(statuses.values()))


WORDS = {0: "every bound met", 1: "a bound is broken, or it failed", 2: "some figures were not measured"}


def worst(statuses: list[int]) -> int:
    """1 before 2 before 0; a status that no benchmark returns counts as 1."""
    return 0 if not any(statuses) else 2 if set(statuses) <= {0, 2} else 1


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MODULES)} (default: all but soak)")
    parser.add_argument("--here", choices=list(MODULES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in MODULES]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}: choose from {', '.join(MODULES)}")
    names = options.names or [name for name in MODULES if name not in ONLY_WHEN_NAMED]
    return run_here(options.here) if options.here else run(names)


if __name__ == "__main__":
    sys.exit(main())
