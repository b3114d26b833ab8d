"""Programs are started, restarted after a crash, stopped with their children, and told apart."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from include.local.process_control import ProcessControl, ProcessError, configuration
from include.local.programs import Program

SLEEPER = Program("sleeper", ("sh", "-c", 'sleep 1000 & echo $! > "$CHILD_FILE"; echo started 100%; wait'))
BROKEN = Program("broken", ("sh", "-c", "echo no such broker; exit 3"))


def eventually(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ProcessControl]:
    file = tmp_path / "environment"
    file.write_text(f"CHILD_FILE='{tmp_path / 'child'}'\n")
    control = ProcessControl(tmp_path)
    control.start_supervisor([SLEEPER, BROKEN], file)
    yield control
    if control.running():
        control.shutdown()


def test_crash_is_mended_and_stop_takes_children_along(control: ProcessControl, tmp_path: Path) -> None:
    control.start("sleeper")
    first = control.process_id("sleeper")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: control.process_id("sleeper") not in {0, first})
    eventually(lambda: control.status()["sleeper"] == "RUNNING")
    child = int((tmp_path / "child").read_text())
    assert Path(f"/proc/{child}").exists()
    control.stop("sleeper")
    eventually(lambda: not Path(f"/proc/{child}").exists())
    assert control.status() == {"sleeper": "STOPPED", "broken": "STOPPED"}
    control.shutdown()
    assert not control.running()


def test_program_that_cannot_start_shows_its_log(control: ProcessControl) -> None:
    with pytest.raises(ProcessError, match=r"(?s)broken did not start.*no such broker"):
        control.start("broken")


def test_configuration_doubles_percent_signs_and_quotes(tmp_path: Path) -> None:
    text = configuration(tmp_path, [Program("odd", ("echo", "100 %"))], tmp_path / "environment")
    assert '"100 %%"' in text
