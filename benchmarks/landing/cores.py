"""Which cores the servers and the program under test run on.

Without this, broker and S3 server take turns with the program on the same cores. Then a program's speed is decided by
the servers' share of these cores, which differs from machine to machine, and ratios of speeds differ with it. So the
program gets one core for itself, on every machine, and the servers get the others. A consumer scales by more processes,
so the work that one core does is what counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """Numbers of cores."""

    servers: frozenset[int]
    program: frozenset[int]

    def __str__(self) -> str:
        if self.servers == self.program:
            return f"servers and program share {len(self.program)} cores"
        return f"the program alone on core {min(self.program)}, the servers on {len(self.servers)} other"


def split(usable: Set[int]) -> Cores:
    """The last core for the program and the others for the servers; with a single core they share it."""
    program = frozenset({max(usable)})
    return Cores(frozenset(usable) - program or program, program)


@contextmanager
def running_on(cores: Set[int]) -> Iterator[None]:
    """Children that this thread starts meanwhile run on these cores, and so does the thread."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def busy_seconds(cores: Set[int], stat: str | None = None) -> float:
    """Seconds that these cores have worked since the machine's start, for any process. `stat`: text of /proc/stat."""
    text = Path("/proc/stat").read_text() if stat is None else stat
    lines = (line.split() for line in text.splitlines() if line.startswith("cpu"))
    ticks = {name: [int(value) for value in values] for name, *values in lines}
    return sum(sum(ticks[f"cpu{core}"][:8]) - sum(ticks[f"cpu{core}"][3:5]) for core in cores) / TICKS
