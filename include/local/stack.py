"""One laptop stack: its settings, its processes, and how it says what it does."""

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
    """The demo cannot go on; the text is one line with the remedy."""


@dataclass(frozen=True, slots=True)
class Demo:
    """One demo: its settings, its processes and where its environment is written."""

    local: LocalSettings
    control: ProcessControl
    console: Console

    @property
    def environment_file(self) -> Path:
        """Variables of every program; can be sourced by hand."""
        return self.local.state / "environment"

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Says what is being done, then how long it took; the function it gives adds a detail."""
        details: list[str] = []
        started = time.monotonic()
        with self.console.status(f"{what} ..."):
            yield details.append
        shown = f"  ({'; '.join(details)})" if details else ""
        line = f"  {time.monotonic() - started:5.1f} s  {what}{shown}"
        self.console.print(line, highlight=False, soft_wrap=True)


def clean_state(state: Path) -> None:
    """Remove the demo's folder."""
    if state.exists():
        shutil.rmtree(state)
