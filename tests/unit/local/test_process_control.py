"""Programs are started, restarted after a crash, stopped with their children, and told apart."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from include.local.process_control import NotRunningError, ProcessControl, ProcessError, configuration
from include.local.programs import Program

SLEEPER = Program("sleeper", ("sh", "-c", 'sleep 1000 & echo $! > "$CHILD_FILE"; echo started 100%; wait'))
SLOW_TO_END = Program("slow", ("sh", "-c", "trap 'sleep 1; exit 0' TERM; while true; do sleep 0.1; done"))
RUNAWAY = Program("runaway", ("sh", "-c", 'setsid sleep 1000 & echo $! > "$CHILD_FILE"; wait'))
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
    control.start_supervisor([SLEEPER, SLOW_TO_END, RUNAWAY, BROKEN], file)
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
    assert set(control.status().values()) == {"STOPPED"}
    control.shutdown()
    assert not control.running()


def test_program_that_cannot_start_shows_its_log(control: ProcessControl) -> None:
    with pytest.raises(ProcessError, match=r"(?s)broken did not start.*no such broker"):
        control.start("broken")


def test_what_left_its_programs_session_is_ended_too(control: ProcessControl, tmp_path: Path) -> None:
    control.start("runaway")
    child = int((tmp_path / "child").read_text())
    control.shutdown()
    assert not Path(f"/proc/{child}").exists()


def look_on(control: ProcessControl) -> NoReturn:
    while True:
        control.status()


def test_who_watches_while_another_stops_everything_is_told_so(control: ProcessControl, tmp_path: Path) -> None:
    control.start("slow")
    with ThreadPoolExecutor() as threads:
        # `slow` stops with supervisord itself, so that for a second this is there and takes no orders.
        elsewhere = threads.submit(ProcessControl(tmp_path).shutdown, last=("slow",))
        with pytest.raises(NotRunningError):
            look_on(control)
        assert not control.running()
        assert control.present()
        control.shutdown()  # only waits
        assert not control.present()
        elsewhere.result(timeout=5)
    with pytest.raises(NotRunningError):
        control.status()


def test_one_at_a_time(tmp_path: Path) -> None:
    with ProcessControl(tmp_path).alone() as first, ProcessControl(tmp_path).alone() as second:
        assert (first, second) == (True, False)
    with ProcessControl(tmp_path).alone() as third:
        assert third


def test_configuration_doubles_percent_signs_and_quotes(tmp_path: Path) -> None:
    text = configuration(tmp_path, [Program("odd", ("echo", "100 %"))], tmp_path / "environment")
    assert '"100 %%"' in text
