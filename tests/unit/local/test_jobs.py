"""A job runs beside the start. Its failure shows its log, and an interrupted wait ends it."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from include.local import environment
from include.local.jobs import start_job
from include.local.process_control import ProcessControl, alive
from include.local.stack import Demo, DemoError
from include.settings import LocalSettings


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    local = LocalSettings(state=tmp_path)
    (tmp_path / "logs").mkdir()
    demo = Demo(local, ProcessControl(tmp_path), Console(stderr=True))
    environment.write(demo.environment_file, {"GREETING": "from the file's variables"})
    return demo


def test_a_failure_shows_the_log(demo: Demo) -> None:
    job = start_job(demo, "greeting", ["sh", "-c", 'echo "$GREETING"; exit 3'], "greeting.log")
    with pytest.raises(DemoError, match=r"(?s)greeting failed.*from the file's variables"):
        job.finish()


def test_an_interrupted_wait_ends_the_command_and_its_children(demo: Demo) -> None:
    child = demo.local.state / "child"
    job = start_job(demo, "sleeping", ["sh", "-c", f"sleep 1000 & echo $! > {child}; wait"], "sleep.log")
    while not (child.exists() and child.read_text().strip()):
        time.sleep(0.02)
    process = psutil.Process(int(child.read_text()))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            job.finish()
    finally:
        signal.signal(signal.SIGINT, before)
    assert job.process.poll() is not None
    deadline = time.monotonic() + 60
    while alive(process):
        assert time.monotonic() < deadline
        time.sleep(0.02)
