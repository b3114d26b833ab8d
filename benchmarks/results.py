"""Results of the benchmarks as JSON files, and the bounds file next to this module."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import Bound, Figures, Values, bounds_table, complaint, judge
from include.settings import PROJECT_ROOT

BOUNDS = Path(__file__).with_name("bounds.toml")
RESULTS = PROJECT_ROOT / ".local" / "bench" / "results"
PACKAGES = ("apache-airflow", "confluent-kafka", "dbt-core", "dbt-duckdb", "duckdb", "obstore")


@dataclass(frozen=True, slots=True)
class Result:
    """One run of a benchmark. `load` is the machine's load average before it."""

    name: str
    date: str
    machine: str
    load: float
    versions: dict[str, str]
    values: Values
    tables: tuple[str, ...]
    pictures: dict[str, str]

    @classmethod
    def of(cls, name: str, load: float, figures: Figures) -> Result:
        """The result of a run that has just ended on this machine."""
        versions = {"Python": platform.python_version()} | {package: version(package) for package in PACKAGES}
        date = f"{datetime.now(UTC):%Y-%m-%d}"
        return cls(name, date, machine(), round(load, 1), versions, figures.values, figures.tables, figures.pictures)


def machine() -> str:
    """Cores, their model, and memory."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")] or [platform.machine()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} x {models[0]}, {memory:.0f} GiB"


def write(result: Result, folder: Path = RESULTS) -> Path:
    """Write the result; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{result.name}.json"
    file.write_text(json.dumps(asdict(result), indent=2) + "\n")
    return file


def read(file: Path) -> Result:
    """A result that `write` has written."""
    fields = json.loads(file.read_text())
    return Result(**fields | {"tables": tuple(fields["tables"])})


def judged(name: str, values: Values) -> list[Bound]:
    """The verdicts of the project's bounds."""
    return judge(BOUNDS.read_text(), name, values)


def exit_status(name: str, bounds: Iterable[Bound]) -> int:
    """Print what was broken or not measured; 1 if a bound is broken, 2 if only figures are missing, else 0."""
    known = list(bounds)
    missed = [bound for bound in known if bound.verdict == "MISSED"]
    unmeasured = [bound.figure for bound in known if bound.verdict == "not measured"]
    for bound in missed:
        print(complaint(name, bound))
    print(f"{name}: {len(known)} bounds, missed: {[bound.figure for bound in missed]}, not measured: {unmeasured}")
    return 1 if missed else 2 if unmeasured else 0


def finish(name: str, figures: Figures) -> int:
    """Print tables and verdicts of a benchmark; returns the exit status."""
    bounds = judged(name, figures.values)
    print("\n\n".join((*figures.tables, bounds_table(bounds))))
    return exit_status(name, bounds)
