"""One laptop stack: its settings, its processes, and the messages of its start."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from include.local import environment
from include.local.process_control import ProcessControl, running_elsewhere
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

    @property
    def environment_before_break(self) -> Path:
        """The same variables as they were before a fault changed them; there is no such file without a fault."""
        return self.local.state / "environment.before-break"

    @property
    def values(self) -> dict[str, str]:
        """The variables of the running demo's programs; raises as `require_running`."""
        self.require_running()
        return environment.read(self.environment_file)

    def require_running(self) -> None:
        """Return if the demo runs.

        Raises:
            DemoError: nothing runs in the state folder, or it has only begun to start.
        """
        if not self.control.running():
            if others := running_elsewhere(self.local.state):
                states = " or ".join(f"LOCAL_STATE={state}" for state in others)
                raise DemoError(f"no demo runs in {self.local.state}: one runs with {states}")
            raise DemoError(f"no demo runs in {self.local.state}: start it with make demo in another terminal")
        if "KAFKA_BOOTSTRAP_SERVERS" not in environment.read(self.environment_file):
            raise DemoError("the demo is starting: wait until its terminal shows the status screen")

    def as_it_runs(self) -> Demo:
        """The same demo with the settings with which it runs, whatever the settings of this terminal are."""
        if not self.control.present():
            return self
        return replace(self, local=environment.running_stack(self.local, environment.read(self.environment_file)))

    def tell(self, message: str) -> None:
        """Print one line, however long."""
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)

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
