"""`python -m benchmarks.landing`: drain a backlog into S3, ours against a floor and peers, in one run.

`make bench-landing` builds what it needs first: versitygw as S3 and Benthos from their Go modules (Go 1.25 or later,
about three minutes each, once), and environments of ours and of Quix Streams on the distribution's Python. Kafka is a
real one. Everything lies on a memory file system where there is one, else the disk is what is measured. Programs take
turns within each round, so that whatever else the machine does meets all of them; figures are medians over the rounds.
A peer that is far slower runs in the first round only.

Exit status: 0 every goal of bounds.toml is met, 1 one is missed, 2 none is missed but some were not measured.
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
"""Peers so slow that one run tells enough."""
AWAY_AFTER_FILES = 100


def say(one: Drain) -> Drain:
    """Print a drain as a line of JSON."""
    print(json.dumps(asdict(one)), flush=True)
    return one


def race(on: Stage, options: argparse.Namespace) -> list[list[Drain]]:
    """The programs in turns, `rounds` times for each file size; each round begins with another one."""
    found = []
    for size in options.sizes:
        for number in range(options.rounds):
            programs = [name for name in options.programs if number == 0 or name not in ONCE]
            turn = number % len(programs)
            found.append(
                [say(drain(on, name, TOPIC, options.messages, size)) for name in programs[turn:] + programs[:turn]]
            )
    return found


def scaling(on: Stage, options: argparse.Namespace) -> list[list[Drain]]:
    """One consumer and two on four partitions, in turns."""
    return [
        [
            say(drain(on, "ours", WIDE_TOPIC, options.messages, 100, partitions=WIDE, processes=count))
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

    return say(drain(on, "ours", TOPIC, messages, 100, after_files=AWAY_AFTER_FILES, trouble=trouble))


def conditions(options: argparse.Namespace) -> str:
    """What the figures were measured on, in words."""
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    tell = "import platform, sys; print(platform.python_version(), sys._base_executable)"
    answer = subprocess.run([RUNTIME, "-c", tell], capture_output=True, check=True, text=True, timeout=60)
    version, executable = answer.stdout.strip().split(maxsplit=1)
    whose = "the distribution's" if executable.startswith("/usr/bin/") else "built by somebody else"
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} on {len(models)} x {models[0]}, Python {version} ({whose}): "
        f"{options.messages:,} messages, rounds: {options.rounds}; medians, but the largest peak RSS."
    )


def main() -> int:
    """Run the benchmark; print its tables and, when told, write them into a guide."""
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
        raced = race(on, options)
        named: list[tuple[str, Drain]] = []
        figures = speed_figures(raced)
        if "two-consumers" in options.scenarios:
            fill(on.bootstrap, WIDE_TOPIC, options.messages, WIDE)
            scaled = scaling(on, options)
            figures |= scaling_figures(scaled)
            drains = sorted((one for pair in scaled for one in pair), key=lambda one: one.processes)
            named += [(f"{one.processes} of ours on {WIDE} partitions", one) for one in drains]
        if "s3-away" in options.scenarios:
            one = s3_away(on, options.messages, options.away_seconds)
            figures["s3_away.peak_rss_mb"] = one.peak_rss_mb
            named.append((f"S3 away for {options.away_seconds:g} s (within the span)", one))
    judged = judge((HERE / "bounds.toml").read_text(), figures)
    parts = [measured_on, speed_table(raced), *([scenario_table(named)] if named else []), goal_table(judged)]
    print("\n\n".join(parts))
    if options.json:
        drains = [one for drains in raced for one in drains] + [one for _, one in named]
        options.json.write_text(json.dumps([asdict(one) for one in drains], indent=2))
    if options.write:
        part = Part(options.write.name, "benchmark", lambda: ["", "\n\n".join(parts), ""])
        options.write.write_text(renewed(options.write.read_text(), part))
    missed = [one.name for one in judged if one.verdict == "MISSED"]
    unmeasured = [one.name for one in judged if one.measured is None]
    print(f"landing: {sum(one.met for one in judged)} goals met, missed: {missed}, not measured: {unmeasured}")
    return 1 if missed else 2 if unmeasured else 0


if __name__ == "__main__":
    sys.exit(main())
