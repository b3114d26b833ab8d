"""Commands of the start that run at the same time and must succeed."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from include.local import environment
from include.local.stack import Demo, DemoError
from include.settings import PROJECT_ROOT


@dataclass(frozen=True, slots=True)
class Job:
    """A command that runs while others do and must succeed."""

    what: str
    process: subprocess.Popen[bytes]
    log: Path

    def finish(self) -> None:
        """Wait for the command's end; an interrupted wait stops the command.

        Raises:
            DemoError: the command failed; the text has the end of its log.
        """
        try:
            code = self.process.wait()
        finally:
            self.stop()
        if code:
            raise DemoError(f"{self.what} failed; its log ends:\n{self.log.read_text(errors='replace')[-3000:]}")

    def stop(self) -> None:
        """Stop the command and its children, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait()


def start_job(demo: Demo, what: str, command: list[str], log_name: str) -> Job:
    """Start a command with the demo's environment; its output goes to a log file."""
    log = demo.local.state / "logs" / log_name
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(environment.__file__).with_name("with-environment.sh")), str(demo.environment_file), *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment.inherited(),
            cwd=PROJECT_ROOT,
            start_new_session=True,
        )
    return Job(what, process, log)
