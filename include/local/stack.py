"""One laptop stack: its settings, its processes, and the messages of its start."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from include.local.process_control import ProcessControl
from include.settings import LocalSettings


class DemoError(RuntimeError):
    """The demo cannot go on; the text names the remedy."""


@dataclass(frozen=True, slots=True)
class Demo:
    """One demo: its settings, its processes and its console."""

    local: LocalSettings
    control: ProcessControl
    console: Console

    @property
    def environment_file(self) -> Path:
        """The variables of every program; a shell can source it."""
        return self.local.state / "environment"

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show a step, then its duration. The block gets a function that adds a detail to the step's line."""
        details: list[str] = []
        started = time.monotonic()
        with self.console.status(f"{what} ..."):
            yield details.append
        suffix = f"  ({'; '.join(details)})" if details else ""
        line = f"  {time.monotonic() - started:5.1f} s  {what}{suffix}"
        self.console.print(line, highlight=False, soft_wrap=True)


def clean_state(state: Path) -> None:
    """Remove the demo's folder."""
    if state.exists():
        shutil.rmtree(state)
