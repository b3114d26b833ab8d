"""A signal ends the whole demo, and further signals do not interrupt that."""

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

def start(stack):
    ending = "touch $ENDING; until [ -e $MAY_END ]; do sleep 0.05; done; exit 0"
    program = Program("slow", ("sh", "-c", f"trap '{ending}' TERM; while true; do sleep 0.05; done"))
    stack.control.start_supervisor([program], stack.environment_file)
    stack.control.start("slow")

def watch(*_):
    (demo.load_group(demo.LocalSettings).state / "watching").touch()
    time.sleep(60)

demo.start, demo.watch = start, watch
sys.exit(demo.main())
"""
"""`make demo` with one program, which ends when the file $MAY_END exists."""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGTERM, signal.SIGTERM),  # `timeout 600 make demo` signals the group, and make repeats the signal
        (signal.SIGINT, signal.SIGHUP),
        (signal.SIGHUP, signal.SIGINT),
    ],
)
def test_a_second_signal_does_not_interrupt_the_stop(
    tmp_path: Path, first: signal.Signals, second: signal.Signals
) -> None:
    """The demo runs on a terminal, which SIGHUP takes away."""
    state, ending, may_end = tmp_path / "state", tmp_path / "ending", tmp_path / "may-end"
    state.mkdir()
    (state / "environment").write_text(f"ENDING='{ending}'\nMAY_END='{may_end}'\n")
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
        may_end.touch()
        status = child.wait(30)
        assert status == 0 or signal.SIGHUP in {first, second}, "without a terminal its last line cannot be written"
        assert not alive(supervisor)
    finally:
        child.kill()
        ProcessControl(state).shutdown()
