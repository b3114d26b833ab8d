"""`python -m benchmarks.landing` drains a backlog into S3 and compares our consumer with a floor and with peers.

`make bench-landing` first builds what it needs: versitygw as S3 and Benthos from their Go modules (Go 1.25 or later,
about three minutes each, once), and environments of our consumer and of Quix Streams on the distribution's Python. It
runs Apache Kafka. All data is on a memory file system if the machine has one, so that the disk is not measured. The
programs take turns within each round, so that other load on the machine meets all of them. Figures are medians over the
rounds. A peer that is far slower than the others runs only in the first round.

Exit status: 0 if every goal of bounds.toml is met, 1 if a goal is missed, 2 if no goal is missed but some were not
measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from time import sleep

from benchmarks.landing.figures import (
    goal_table,
    judge,
    scaling_figures,
    scenario_table,
    speed_figures,
    speed_table,
)
from benchmarks.landing.rig import HERE, PROGRAMS, RUNTIME, Drain, Stage, drain, fill, stage
from include.generated import Part, renewed

MEMORY = Path("/dev/shm")  # noqa: S108 - TemporaryDirectory makes the name
TOPIC, WIDE_TOPIC = "benchmark", "benchmark-4"
WIDE = 4
ONCE = ("quix",)
"""Peers that are so slow that one run is enough."""
AWAY_AFTER_FILES = 100


def printed(result: Drain) -> Drain:
    """The given drain, after printing it as a line of JSON."""
    print(json.dumps(asdict(result)), flush=True)
    return result


def speed_rounds(on: Stage, options: argparse.Namespace) -> list[list[Drain]]:
    """Drains of all programs, `rounds` times for each file size. Each round begins with another program."""
    rounds = []
    for size in options.sizes:
        for number in range(options.rounds):
            programs = [name for name in options.programs if number == 0 or name not in ONCE]
            turn = number % len(programs)
            rounds.append(
                [printed(drain(on, name, TOPIC, options.messages, size)) for name in programs[turn:] + programs[:turn]]
            )
    return rounds


def scaling_rounds(on: Stage, options: argparse.Namespace) -> list[list[Drain]]:
    """One consumer and two on four partitions, in turns."""
    return [
        [
            printed(drain(on, "ours", WIDE_TOPIC, options.messages, 100, partitions=WIDE, processes=count))
            for count in ((1, 2) if number % 2 == 0 else (2, 1))
        ]
        for number in range(options.rounds)
    ]


def s3_away(on: Stage, messages: int, seconds: float) -> Drain:
    """A drain during which S3 hangs for half of `seconds`, then refuses connections for the other half."""

    def trouble() -> None:
        on.gateway.freeze()
        sleep(seconds / 2)
        on.gateway.kill()
        sleep(seconds / 2)
        on.gateway.start()

    return printed(drain(on, "ours", TOPIC, messages, 100, after_files=AWAY_AFTER_FILES, trouble=trouble))


def conditions(options: argparse.Namespace) -> str:
    """The machine and the settings of the measurement, in words."""
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    script = "import platform, sys; print(platform.python_version(), sys._base_executable)"
    answer = subprocess.run([RUNTIME, "-c", script], capture_output=True, check=True, text=True, timeout=60)
    version, executable = answer.stdout.strip().split(maxsplit=1)
    origin = "the distribution's" if executable.startswith("/usr/bin/") else "built by somebody else"
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} on {len(models)} x {models[0]}, Python {version} ({origin}): "
        f"{options.messages:,} messages, rounds: {options.rounds}; medians, but the largest peak RSS."
    )


def main() -> int:
    """Run the benchmark and print its tables; with `--write` put them into a guide too."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.landing", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 10_000], help="records a file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", nargs="+", choices=sorted(PROGRAMS), default=list(PROGRAMS))
    parser.add_argument("--scenarios", nargs="*", choices=["two-consumers", "s3-away"],
                        default=["two-consumers", "s3-away"])  # fmt: skip
    parser.add_argument("--away-seconds", type=float, default=120.0)
    parser.add_argument("--json", type=Path, help="write the drains here too")
    parser.add_argument("--write", type=Path, metavar="GUIDE", help="put the tables between the guide's markers")
    options = parser.parse_args()
    measured_on = conditions(options)
    memory = MEMORY if os.access(MEMORY, os.W_OK) and "TMPDIR" not in os.environ else None
    with tempfile.TemporaryDirectory(prefix="landing-", dir=memory) as folder, stage(Path(folder)) as on:
        fill(on.bootstrap, TOPIC, options.messages, 1)
        rounds = speed_rounds(on, options)
        scenarios: list[tuple[str, Drain]] = []
        figures = speed_figures(rounds)
        if "two-consumers" in options.scenarios:
            fill(on.bootstrap, WIDE_TOPIC, options.messages, WIDE)
            pairs = scaling_rounds(on, options)
            figures |= scaling_figures(pairs)
            drains = sorted((each for pair in pairs for each in pair), key=lambda each: each.processes)
            scenarios += [(f"{each.processes} of ours on {WIDE} partitions", each) for each in drains]
        if "s3-away" in options.scenarios:
            away = s3_away(on, options.messages, options.away_seconds)
            figures["s3_away.peak_rss_mb"] = away.peak_rss_mb
            scenarios.append((f"S3 away for {options.away_seconds:g} s (within the span)", away))
    goals = judge((HERE / "bounds.toml").read_text(), figures)
    parts = [measured_on, speed_table(rounds), *([scenario_table(scenarios)] if scenarios else []), goal_table(goals)]
    print("\n\n".join(parts))
    if options.json:
        drains = [each for drains in rounds for each in drains] + [each for _, each in scenarios]
        options.json.write_text(json.dumps([asdict(each) for each in drains], indent=2))
    if options.write:
        part = Part(options.write.name, "benchmark", lambda: ["", "\n\n".join(parts), ""])
        options.write.write_text(renewed(options.write.read_text(), part))
    missed = [goal.name for goal in goals if goal.verdict == "MISSED"]
    unmeasured = [goal.name for goal in goals if goal.measured is None]
    print(f"landing: {sum(goal.met for goal in goals)} goals met, missed: {missed}, not measured: {unmeasured}")
    return 1 if missed else 2 if unmeasured else 0


if __name__ == "__main__":
    sys.exit(main())
