"""Programs are started, restarted after a crash, and stopped with their children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from include.local.process_control import (
    EndingError,
    NotRunningError,
    ProcessControl,
    ProcessError,
    alive,
    configuration,
)
from include.local.programs import Program

SLEEPER = Program("sleeper", ("sh", "-c", 'sleep 1000 & echo $! > "$CHILD_FILE"; echo started 100%; wait'))
SLOW_TO_END = Program("slow", ("sh", "-c", "trap 'sleep 1; exit 0' TERM; while true; do sleep 0.1; done"))
START_APART = (
    "import os,subprocess;child=subprocess.Popen(['sleep','1000'],start_new_session=True);"
    "open(os.environ['CHILD_FILE'],'w').write(str(child.pid));child.wait()"
)
RUNAWAY = Program("runaway", (sys.executable, "-c", START_APART))
BROKEN = Program("broken", ("sh", "-c", "echo no such broker; exit 3"))


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.05)


def child_of(folder: Path, other_than: psutil.Process | None = None) -> psutil.Process:
    """The child of a program; waits until the program has written the child's process id."""
    file, known = folder / "child", "" if other_than is None else str(other_than.pid)
    eventually(lambda: file.exists() and file.read_text().strip() not in {"", known})
    return psutil.Process(int(file.read_text()))


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ProcessControl]:
    file = tmp_path / "environment"
    file.write_text(f"CHILD_FILE='{tmp_path / 'child'}'\n")
    control = ProcessControl(tmp_path)
    control.start_supervisor([SLEEPER, SLOW_TO_END, RUNAWAY, BROKEN], file)
    yield control
    if control.running():
        control.shutdown()


def test_a_crash_is_repaired_and_a_stop_ends_the_children(control: ProcessControl, tmp_path: Path) -> None:
    control.start("sleeper")
    orphan = child_of(tmp_path)
    first = control.process_id("sleeper")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: control.process_id("sleeper") not in {0, first})
    eventually(lambda: control.status()["sleeper"] == "RUNNING")
    child = child_of(tmp_path, other_than=orphan)
    assert alive(child)
    control.stop("sleeper")
    eventually(lambda: not alive(child))
    assert set(control.status().values()) == {"STOPPED"}
    control.shutdown()
    assert not control.running()


def test_a_program_that_cannot_start_shows_its_log(control: ProcessControl) -> None:
    with pytest.raises(ProcessError, match=r"(?s)broken did not start.*no such broker"):
        control.start("broken")


def test_a_child_with_its_own_session_is_ended_too(control: ProcessControl, tmp_path: Path) -> None:
    control.start("runaway", wait=False)
    child = child_of(tmp_path)
    control.shutdown()
    assert not alive(child)


def watch(control: ProcessControl) -> NoReturn:
    while True:
        control.status()


def test_a_watcher_notices_that_another_process_stops_everything(control: ProcessControl, tmp_path: Path) -> None:
    control.start("slow")
    with ThreadPoolExecutor() as threads:
        # `slow` stops with supervisord itself, so supervisord exists for a second and refuses requests.
        elsewhere = threads.submit(ProcessControl(tmp_path).shutdown, last=("slow",))
        with pytest.raises(NotRunningError):
            watch(control)
        assert not control.running()
        assert control.present()
        control.shutdown()  # waits for the shutdown that the other thread began
        assert not control.present()
        elsewhere.result(timeout=60)
    with pytest.raises(NotRunningError):
        control.status()


def test_a_supervisord_that_ends_during_the_request_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = ProcessControl(tmp_path)

    def ends(method: str) -> NoReturn:  # supervisord removes its pid file between its answer and our next step
        raise EndingError(method)

    monkeypatch.setattr(control, "_request", ends)
    control.shutdown()
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / "supervisord.pid").write_text(f"{ended.pid}\n")
    control.shutdown()


def test_a_zombie_is_not_alive() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        process = psutil.Process(child.pid)
        assert alive(process)
        process.kill()
        eventually(lambda: process.status() == psutil.STATUS_ZOMBIE)
        assert process.is_running(), "psutil counts a zombie as running"
        assert not alive(process)
    assert not alive(process)


def test_only_one_process_has_the_lock(tmp_path: Path) -> None:
    with ProcessControl(tmp_path).lock() as first, ProcessControl(tmp_path).lock() as second:
        assert (first, second) == (True, False)
    with ProcessControl(tmp_path).lock() as third:
        assert third


def test_the_configuration_doubles_percent_signs_and_quotes_words(tmp_path: Path) -> None:
    text = configuration(tmp_path, [Program("odd", ("echo", "100 %"))], tmp_path / "environment")
    assert '"100 %%"' in text
