"""Shortens the pipeline's times, so that an incident takes about a minute.

Every Python process imports a module of this name at its start. The scoreboard puts this folder on the path of the
stack's programs, and of no others. The code is the product's; only the constants below have other values.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

SHORTER: Mapping[str, Mapping[str, str]] = {
    # Not less: the monitor's run may take twice its interval, and a busy machine needs a minute or two for it.
    "include.catalogue": {"MONITOR_SECONDS = 300": "MONITOR_SECONDS = 120"},
    "include.local.monitor_watch": {"LOOK_SECONDS = 60.0": "LOOK_SECONDS = 12.0"},
    "include.monitoring.checks.arrivals": {"HOUR = timedelta(hours=1)": "HOUR = timedelta(minutes=1)"},
    "include.monitoring.checks.lag": {
        "JITTER = timedelta(minutes=1)": "JITTER = timedelta(seconds=12)",
        # An upload error must be known before a stall, as in production (4 minutes against 1 to 2).
        "SHORTEST_STALL = INTERVAL - JITTER": "SHORTEST_STALL = timedelta(minutes=2)",
        "SHORTEST_WINDOW = 2 * INTERVAL + JITTER": "SHORTEST_WINDOW = timedelta(minutes=3)",
    },
    "include.monitoring.checks.measure": {
        "SHORTEST_GRACE = timedelta(minutes=2)": "SHORTEST_GRACE = timedelta(seconds=24)",
        "SETTLE = timedelta(minutes=1)": "SETTLE = timedelta(seconds=5)",  # the emulator needs no time
    },
}
"""Module -> its lines -> their replacements. CloudWatch's minutes stay: its numbers are not finer."""


class Shortening(SourceFileLoader):
    """Loads a module with replaced lines, from its source and not from compiled code."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the module."""
        return compile(shortened(fullname, Path(self.path).read_text()), self.path, "exec", dont_inherit=True)


def shortened(module: str, source: str) -> str:
    """The source with the replaced lines.

    Raises:
        ImportError: a line is not there exactly once.
    """
    lines = source.splitlines()
    for line, replacement in SHORTER[module].items():
        if lines.count(line) != 1:
            raise ImportError(f"{module} does not have the line {line!r} once: adapt tests/incidents/short_times")
        lines[lines.index(line)] = replacement
    return "\n".join(lines) + "\n"


class Finder(MetaPathFinder):
    """Finds the modules of `SHORTER`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's specification with the loader above; None for any other module."""
        if fullname not in SHORTER:
            return None
        spec: Any = PathFinder.find_spec(fullname, path, target)
        spec.loader = Shortening(fullname, spec.origin)
        return spec  # type: ignore[no-any-return]


def install() -> None:
    """Shorten the times of this process."""
    sys.meta_path.insert(0, Finder())


if __name__ == "sitecustomize":
    install()
