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
from include.local.programs import Program
from include.settings import PROJECT_ROOT, LocalSettings
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
        eventually((state / "watching").exists, 120, pause=0.05)
        supervisor = psutil.Process(int((state / "supervisord.pid").read_text()))
        if first == signal.SIGHUP:
            os.close(terminal)
        child.send_signal(first)
        eventually(ending.exists, 120, pause=0.05)
        if second == signal.SIGHUP:
            os.close(terminal)
        child.send_signal(second)
        may_end.touch()
        status = child.wait(120)
        assert status == 0 or signal.SIGHUP in {first, second}, "without a terminal its last line cannot be written"
        assert not alive(supervisor)
    finally:
        child.kill()
        ProcessControl(state).shutdown()


def call(state: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A demo command in another terminal."""
    return subprocess.run(
        [sys.executable, "-m", "include.local.demo", *arguments],
        env=environment.inherited() | {"LOCAL_STATE": str(state), **variables},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", ["status", "mail", "fix", "break"])
def test_a_command_without_a_demo_fails_with_a_sentence(tmp_path: Path, command: str) -> None:
    answer = call(tmp_path / "none", command, TMPDIR=str(tmp_path))  # other demos of this machine are not seen there
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == f"demo: no demo runs in {tmp_path / 'none'}: start it with make demo in another terminal\n"


def test_a_second_demo_watches_the_first_and_leaves_it_running(tmp_path: Path) -> None:
    """The first has begun with another port, so that its commands are those of the running demo, not of this shell."""
    watched = """
import sys, time
from include.local import demo

def watch(stack, api, seconds, at_end):
    print(stack.local.airflow_port, api.base_url, at_end, flush=True)
    time.sleep(600)

demo.watch = watch
sys.exit(demo.main())
"""
    state = tmp_path / "state"
    state.mkdir()
    local = LocalSettings(state=state, airflow_port=28123)
    values = environment.of_the_stack(local) | {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    environment.write(state / "environment", values)
    control = ProcessControl(state)
    control.start_supervisor([Program("airflow-scheduler", ("sleep", "600"))], state / "environment")
    try:
        control.start("airflow-scheduler")
        other_shell = environment.inherited() | {"LOCAL_STATE": str(state), "LOCAL_AIRFLOW_PORT": "29999"}
        other_shell["TMPDIR"] = str(tmp_path)
        command = [sys.executable, "-c", watched, "run"]
        with subprocess.Popen(
            command, env=other_shell, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as second:
            assert second.stdout is not None
            shown = second.stdout.readline()
            second.send_signal(signal.SIGINT)
            _, messages = second.communicate(timeout=120)
        assert shown.startswith("28123 http://127.0.0.1:28123 Ctrl-C ends this view"), shown + messages
        assert second.returncode == 0
        assert "The demo goes on" in messages
        assert control.status() == {"airflow-scheduler": "RUNNING"}
    finally:
        control.shutdown()


def test_another_running_demo_is_named(tmp_path: Path) -> None:
    elsewhere = ProcessControl(tmp_path / "elsewhere")
    elsewhere.start_supervisor([Program("one", ("sleep", "600"))], tmp_path / "environment")
    try:
        answer = call(tmp_path / "here", "status")
        assert answer.returncode == 1
        assert f"LOCAL_STATE={tmp_path / 'elsewhere'}" in answer.stderr
    finally:
        elsewhere.shutdown()


def test_a_demo_that_is_still_starting_is_not_asked(tmp_path: Path) -> None:
    """Its environment is not complete: the status would be of whatever has the default ports."""
    control = ProcessControl(tmp_path)
    control.start_supervisor([Program("one", ("sleep", "600"))], tmp_path / "environment")
    environment.write(tmp_path / "environment", environment.of_the_stack(LocalSettings(state=tmp_path)))
    try:
        for command in ("status", "fix", "break"):
            answer = call(tmp_path, command)
            assert answer.returncode == 1
            assert "the demo is starting" in answer.stderr
    finally:
        control.shutdown()
