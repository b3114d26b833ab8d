"""Real servers for tests: Apache Kafka and the AWS emulator, on free loopback ports."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from include.local import broker, emulator

PORTS = range(20_000, 32_000)
"""They are below the ports that systems give to client connections, so a restarted server finds its port free."""
_reserved: dict[int, IO[bytes]] = {}


def free_port() -> int:
    """A free loopback TCP port. No other call returns it while this process runs, not even in another process."""
    folder = Path(tempfile.gettempdir()) / f"crypto-lakehouse-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    while True:
        port = random.choice(PORTS)
        if port in _reserved:
            continue
        lock = (folder / str(port)).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError as error:
            lock.close()
            if error.errno in {errno.EWOULDBLOCK, errno.EADDRINUSE}:
                continue
            raise
        _reserved[port] = lock
        return port


@contextmanager
def process(
    command: list[str], log: Path, environment: dict[str, str] | None = None, folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child in its own process group. The whole group is ended with TERM, then KILL."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | (environment or {}),
            cwd=folder,
            start_new_session=True,
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
                try:
                    child.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait(10)


@contextmanager
def log_on_failure(log: Path, child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Put the end of the server's log into the error when the server does not come up."""
    try:
        yield
    except (broker.BrokerError, emulator.EmulatorError) as error:
        state = "still running" if child.poll() is None else f"exited with {child.returncode}"
        raise AssertionError(f"{error} (the server is {state}); its log ends:\n{log.read_text()[-2000:]}") from error


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """A running Apache Kafka."""

    bootstrap: str


@contextmanager
def kafka_server(state: Path) -> Iterator[KafkaServer]:
    """Apache Kafka, with data in `state`."""
    state.mkdir(parents=True, exist_ok=True)
    port, controller_port = free_port(), free_port()
    command = [sys.executable, "-m", "include.local.broker", "--state", str(state)]
    command += ["--port", str(port), "--controller-port", str(controller_port), "--kind", "kafka"]
    with process(command, state / "broker.log") as child:
        with log_on_failure(state / "broker.log", child):
            bootstrap = f"127.0.0.1:{port}"
            broker.wait_until_ready(bootstrap, seconds=60)
        yield KafkaServer(bootstrap)


@contextmanager
def aws_server(state: Path) -> Iterator[str]:
    """The AWS emulator with data in `state`; yields its endpoint."""
    state.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "include.local.emulator", "--state", str(state), "--port", str(port)]
    endpoint = f"http://127.0.0.1:{port}"
    with process(command, state / "emulator.log") as child:
        with log_on_failure(state / "emulator.log", child):
            emulator.wait_until_ready(endpoint, seconds=60)
        yield endpoint
