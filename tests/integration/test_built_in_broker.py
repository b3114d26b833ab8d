"""`make demo` on a machine without Java: it uses librdkafka's broker, and two terminals run its commands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from include.local import environment
from include.local.process_control import alive
from include.settings import PROJECT_ROOT
from tests.servers import free_port

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(900)]

DEMO = [sys.executable, "-m", "include.local.demo"]


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    ports = "LOCAL_KAFKA LOCAL_KAFKA_CONTROLLER LOCAL_AWS LOCAL_SMTP LOCAL_AIRFLOW CONSUMER_HTTP PRODUCER_HTTP"
    return environment.inherited() | {
        "LOCAL_STATE": str(tmp_path),
        "LOCAL_BROKER": "built-in",
        "LOCAL_TRANSFORM_SCHEDULE": "0 0 1 1 *",
        "PRODUCER_SOURCE": "simulator",
        "SIMULATOR_HISTORY_HOURS": "2",
        "CONSUMER_BATCH_AGE_SECONDS": "2",
        **{f"{name}_PORT": str(free_port()) for name in ports.split()},
    }


@contextmanager
def terminal(variables: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `make demo` in one terminal, and stop it at the end of the block."""
    with log.open("wb") as output:
        child = subprocess.Popen([*DEMO, "run"], env=variables, cwd=PROJECT_ROOT, stderr=output, start_new_session=True)
        try:
            yield child
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait(120)


def run(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *arguments], env=variables, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def status_when(variables: dict[str, str], log: Path, key: str, seconds: float) -> dict[str, Any]:
    """The status when the run at `key` has succeeded or failed."""
    deadline = time.monotonic() + seconds
    while True:
        answer = run(variables, "status")
        if answer.returncode == 0 and (status := json.loads(answer.stdout))[key] in {"success", "failed"}:
            return dict(status)
        assert time.monotonic() < deadline, answer.stdout + answer.stderr + log.read_text()
        time.sleep(5)  # each request starts a program


def test_the_demo_runs_without_java_and_another_terminal_stops_it(variables: dict[str, str], tmp_path: Path) -> None:
    """Quotes land, and the monitor is green."""
    log = tmp_path.with_suffix(".log")
    with terminal(variables, log) as child:
        while "Starting the pipeline" not in log.read_text():
            assert child.poll() is None, log.read_text()
            time.sleep(0.1)
        refused = run(variables, "run")
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
        assert "another make demo is starting" in refused.stderr
        status = status_when(variables, log, "monitor", 400)
        assert status["monitor"] == "success", "the monitor must not alarm about facts that this broker does not have"
        assert status["mails"] == 0
        assert status["landed"] >= 3 * 2 * 60
        supervisor = psutil.Process(int((tmp_path / "supervisord.pid").read_text()))
        processes = [supervisor, *supervisor.children(recursive=True)]

        # A second make demo, in a shell with other settings, watches the first one and leaves it running.
        other = variables | {name: str(free_port()) for name in variables if name.endswith("_PORT")}
        watching = run(other | {"KAFKA_TOPIC": "another"}, "run", "--seconds", "1")
        assert "already running" in watching.stderr
        last = json.loads(watching.stdout)
        assert last["landed"] >= status["landed"], watching.stderr
        assert watching.returncode == bool(last["empty_stages"]), "exit status 1 means that a stage is still empty"
        assert alive(supervisor)
        assert child.poll() is None, log.read_text() + watching.stderr
        assert run(other, "stop").returncode == 0
        assert child.wait(60) == 0, log.read_text() + watching.stderr
    output = log.read_text()
    assert "built-in: chosen by LOCAL_BROKER" in output
    assert "quotes: simulator" in output
    assert "stopped from another terminal" in output
    assert "Traceback" not in output
    assert not [process for process in processes if alive(process)]
