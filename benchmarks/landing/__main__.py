"""`python -m benchmarks.landing` drains a backlog into S3 and compares our consumer with floors and with peers.

`make bench BENCH=landing` first builds what it needs: versitygw as S3, the native floor, Bento and Benthos from their
Go modules (Go 1.25 or later, minutes each, once), and environments of our consumer and of Quix Streams on the
distribution's Python. It runs Apache Kafka. All data is on a memory file system if the machine has one, so that the
disk is not measured. The program under test has a core for itself, and the servers have the others (`--shared`: all
share all). The programs take turns within each round, so that other load on the machine meets all of them. Figures are
medians over the rounds. A peer that is far slower than the others runs only in the first round.

Exit status: 0 if every bound of benchmarks/bounds.toml is met, 1 if one is broken, 2 if none is broken but some figures
were not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import sleep

from benchmarks.figures import Figures
from benchmarks.landing.cores import Cores, split
from benchmarks.landing.figures import scaling_figures, scenario_table, speed_figures, speed_table
from benchmarks.landing.rig import PROGRAMS, RUNTIME, Drain, Stage, drain, fill, memory_folder, stage
from benchmarks.results import finish
from include.settings import PROJECT_ROOT

TOPIC, WIDE_TOPIC = "benchmark", "benchmark-4"
WIDE = 4
ONCE = ("quix",)
"""Peers that are so slow that one run is enough."""
AWAY_AFTER_FILES = 100
PEERS = "benchmarks/landing/peers"
LOCKS = (
    ("Kafka", "include/local/kafka/jgo.lock.toml", r'"kafka_2.13"\nversion = "(.+)"'),
    ("versitygw", f"{PEERS}/versitygw/go.mod", r"versity/versitygw v(\S+)"),
    ("franz-go", f"{PEERS}/native/go.mod", r"twmb/franz-go v(\S+)"),
    ("Bento", f"{PEERS}/bento/go.mod", r"warpstreamlabs/bento v(\S+)"),
    ("Benthos", f"{PEERS}/benthos/go.mod", r"benthosdev/benthos/v4 v(\S+)"),
    ("Quix Streams", "requirements/quix.txt", r"quixstreams==(\S+)"),
)
"""Servers and peers, and where their versions are."""


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


def versions() -> str:
    """The versions of servers and peers."""
    found = ((name, re.search(pattern, (PROJECT_ROOT / file).read_text())) for name, file, pattern in LOCKS)
    return ", ".join(f"{name} {match[1]}" for name, match in found if match)


def conditions(options: argparse.Namespace, cores: Cores) -> str:
    """The settings of the measurement, in words."""
    script = "import platform, sys; print(platform.python_version(), sys._base_executable)"
    answer = subprocess.run([RUNTIME, "-c", script], capture_output=True, check=True, text=True, timeout=60)
    version, executable = answer.stdout.strip().split(maxsplit=1)
    origin = "the distribution's" if executable.startswith("/usr/bin/") else "built by somebody else"
    return (
        f"Consumer's Python {version} ({origin}), {cores}. {options.messages:,} messages, rounds: {options.rounds}; "
        f"medians, but the largest peak RSS. {versions()}."
    )


def parser() -> argparse.ArgumentParser:
    """The command line; its defaults are the settings of `make bench`."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.landing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--messages", type=int, default=1_000_000)
    made.add_argument("--sizes", type=int, nargs="*", default=[100, 10_000], help="records a file")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--programs", nargs="+", choices=sorted(PROGRAMS), default=list(PROGRAMS))
    made.add_argument("--scenarios", nargs="*", choices=["two-consumers", "s3-away"],
                      default=["two-consumers", "s3-away"])  # fmt: skip
    made.add_argument("--away-seconds", type=float, default=120.0)
    made.add_argument("--shared", action="store_true", help="servers and program share all cores")
    made.add_argument("--json", type=Path, help="write the drains here too")
    return made


def measured(options: argparse.Namespace) -> tuple[Figures, list[Drain]]:
    """Figures with their tables, and all drains in the order of the tables."""
    usable = frozenset(os.sched_getaffinity(0))
    cores = Cores(usable, usable) if options.shared else split(usable)
    temporary = tempfile.TemporaryDirectory(prefix="landing-", dir=memory_folder())
    with temporary as folder, stage(Path(folder), cores) as on:
        fill(on.bootstrap, TOPIC, options.messages, 1)
        rounds = speed_rounds(on, options)
        values = speed_figures(rounds)
        scenarios: list[tuple[str, Drain]] = []
        if "two-consumers" in options.scenarios:
            fill(on.bootstrap, WIDE_TOPIC, options.messages, WIDE)
            pairs = scaling_rounds(on, options)
            values |= scaling_figures(pairs)
            drains = sorted((each for pair in pairs for each in pair), key=lambda each: each.processes)
            scenarios += [(f"{each.processes} of ours on {WIDE} partitions", each) for each in drains]
        if "s3-away" in options.scenarios:
            away = s3_away(on, options.messages, options.away_seconds)
            values["s3_away.peak_rss_mb"] = away.peak_rss_mb
            scenarios.append((f"S3 away for {options.away_seconds:g} s (within the span)", away))
    tables = [conditions(options, cores), speed_table(rounds), *([scenario_table(scenarios)] if scenarios else [])]
    return Figures(values, tuple(tables)), [each for drains in rounds for each in drains] + [it for _, it in scenarios]


def figures() -> Figures:
    """The benchmark with the defaults of its command line."""
    return measured(parser().parse_args([]))[0]


def main() -> int:
    """Run the benchmark and print its tables and verdicts."""
    options = parser().parse_args()
    result, drains = measured(options)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in drains], indent=2))
    return finish("landing", result)


if __name__ == "__main__":
    sys.exit(main())
