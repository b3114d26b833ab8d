"""What ends the demo ends all of it, however often it is told to."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from include.local import environment
from include.local.process_control import ProcessControl, alive
from include.settings import PROJECT_ROOT
from tests.laptop_stack import eventually

WATCHED = """
import sys, time
from include.local import demo
from include.local.programs import Program

def start(it):
    slow = "trap 'touch $ENDING; sleep 3; exit 0' TERM; while true; do sleep 0.1; done"
    program = Program("slow", ("sh", "-c", slow))
    it.control.start_supervisor([program], it.environment_file)
    it.control.start("slow")

def watch(*_):
    (demo.load_group(demo.LocalSettings).state / "watching").touch()
    time.sleep(60)

demo.start, demo.watch = start, watch
sys.exit(demo.main())
"""
"""`make demo` with one program, which takes three seconds to end."""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGTERM, signal.SIGTERM),  # of `timeout 600 make demo`: one to the group, one that make hands on
        (signal.SIGINT, signal.SIGHUP),
        (signal.SIGHUP, signal.SIGINT),
    ],
)
def test_second_signal_does_not_interrupt_the_stop(
    tmp_path: Path, first: signal.Signals, second: signal.Signals
) -> None:
    """On a terminal, which is gone with the hang-up."""
    state, ending = tmp_path / "state", tmp_path / "ending"
    state.mkdir()
    (state / "environment").write_text(f"ENDING='{ending}'\n")
    terminal, side = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", WATCHED, "run"],
        env=environment.inherited() | {"LOCAL_STATE": str(state)},
        cwd=PROJECT_ROOT,
        stderr=side,
        start_new_session=True,
    )
    os.close(side)
    try:
        eventually((state / "watching").exists, 30, pause=0.05)
        supervisor = psutil.Process(int((state / "supervisord.pid").read_text()))
        if first == signal.SIGHUP:
            os.close(terminal)
        child.send_signal(first)
        eventually(ending.exists, 30, pause=0.05)
        if second == signal.SIGHUP:
            os.close(terminal)
        child.send_signal(second)
        status = child.wait(30)
        assert status == 0 or signal.SIGHUP in {first, second}, "on a terminal that is gone its last word fails"
        assert not alive(supervisor)
    finally:
        child.kill()
        ProcessControl(state).shutdown()
