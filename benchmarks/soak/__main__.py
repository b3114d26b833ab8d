"""Runs the demo's stack for an hour and judges what it uses.

    python -m benchmarks.soak [--minutes 60] [--folder .local/soak] [--judge] [--write]

The samples stay in the folder, as `samples.jsonl`; with `--judge` nothing runs, and those of the last run are judged.
`--write` puts the plot into docs/images, and figures and tables beside this module. The exit status is 1 if a bound of
our programs or of the stack is missed or was not measured. The bounds of Airflow's processes are printed and decide
nothing, because their code is not ours.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from benchmarks.soak import judgement, plot, rig
from benchmarks.soak.figures import flow, growth
from benchmarks.soak.samples import Run, Sample, read
from include.generated import Part, renewed
from include.local.stack import clean_state
from include.settings import PROJECT_ROOT

GUIDE = PROJECT_ROOT / "benchmarks" / "README.md"
PICTURE = PROJECT_ROOT / "docs" / "images" / "soak.svg"
FIGURES = Path(__file__).parent / "figures.json"


def figures(run: Run, samples: list[Sample]) -> bytes:
    """The figures of a run as JSON."""
    programs = {name: growth(samples, name) for name in (*judgement.OURS, *judgement.AIRFLOW)}
    found = {"run": run, "minutes": round(samples[-1].seconds / 60, 1), "programs": programs, "stack": flow(samples)}
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


def write(run: Run, samples: list[Sample], tables: str) -> None:
    """Put plot, figures and tables into the repository."""
    PICTURE.write_text(plot.svg(run, samples))
    FIGURES.write_bytes(figures(run, samples))
    part = Part(GUIDE.name, "soak", lambda: ["", tables, ""])
    GUIDE.write_text(renewed(GUIDE.read_text(), part))


def main() -> int:
    """Run the stack, or take the samples of the last run; print the tables; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--folder", type=Path, default=PROJECT_ROOT / ".local" / "soak", help="samples, logs and mails")
    parser.add_argument("--judge", action="store_true", help="judge the samples of the last run")
    parser.add_argument("--write", action="store_true", help="write plot, figures and tables")
    options = parser.parse_args()
    kept = options.folder / "samples.jsonl"
    if not options.judge:
        clean_state(options.folder)
        options.folder.mkdir(parents=True)
        with rig.running_stack(options.folder / "stack") as (demo, api):
            rig.record(demo, api, options.minutes, kept)
    run, samples = read(kept)
    ours, airflow = judgement.ours(samples), judgement.airflow(samples)
    tables = "\n\n".join(
        (
            judgement.conditions(run, samples),
            judgement.growth_table(samples, (*judgement.OURS, *judgement.AIRFLOW)),
            judgement.flow_table(bound for bound in ours if bound.about not in judgement.OURS),
        )
    )
    print(tables)
    for subject in samples[-1].mails:
        print(f"mail: {subject}")
    if options.write:
        write(run, samples, tables)
    met, of_airflow = ([bound.verdict for bound in bounds].count("met") for bounds in (ours, airflow))
    print(f"soak: {met} of {len(ours)} bounds met; of Airflow's {of_airflow} of {len(airflow)}")
    return int(met < len(ours))


if __name__ == "__main__":
    sys.exit(main())
