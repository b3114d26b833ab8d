"""Runs the demo's stack for an hour and judges what it uses.

    python -m benchmarks.soak [--minutes 60] [--folder .local/soak] [--judge] [--keep]

The samples stay in the folder, as `samples.jsonl`; with `--judge` nothing runs, and those of the last run are judged.
With `--keep` the result is kept for `python -m benchmarks.report`, as `make bench BENCH=soak` does.

Exit status: 0 if every bound of benchmarks/bounds.toml is met, 1 if one is broken, 2 if none is broken but some figures
were not measured.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks import results
from benchmarks.figures import Figures
from benchmarks.soak import judgement, plot, rig
from benchmarks.soak.samples import read
from include.local.stack import clean_state
from include.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / ".local" / "soak"
MINUTES = 60.0


def measure(folder: Path, minutes: float) -> None:
    """Run the stack and keep samples, logs and mails in the folder."""
    clean_state(folder)
    folder.mkdir(parents=True)
    with rig.running_stack(folder / "stack") as (demo, api):
        rig.record(demo, api, minutes, folder / "samples.jsonl")


def judged(folder: Path) -> Figures:
    """The figures, tables and picture of the samples in the folder."""
    run, samples = read(folder / "samples.jsonl")
    for subject in samples[-1].mails:
        print(f"mail: {subject}")
    programs = (*judgement.OURS, *judgement.AIRFLOW)
    tables = (judgement.conditions(run, samples), judgement.growth_table(samples, programs))
    return Figures(judgement.values(samples), tables, {"soak": plot.svg(run, samples)})


def figures(minutes: float = MINUTES, folder: Path = FOLDER) -> Figures:
    """Run the stack and judge it."""
    measure(folder, minutes)
    return judged(folder)


def main() -> int:
    """Run the stack, or take the samples of the last run; print the tables; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="samples, logs and mails")
    parser.add_argument("--judge", action="store_true", help="judge the samples of the last run")
    parser.add_argument("--keep", action="store_true", help="keep the result for the page")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    found = judged(options.folder) if options.judge else figures(options.minutes, options.folder)
    if options.keep:
        results.write(results.Result.of("soak", load, found))
    return results.finish("soak", found)


if __name__ == "__main__":
    sys.exit(main())
