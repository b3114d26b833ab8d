"""A Kafka broker on loopback without Docker.

The broker is Apache Kafka, with the runtime and the jars of `make env` (include/local/java.py). On a platform without
them it is librdkafka's built-in broker, which keeps its data in memory and has neither topic ids nor LogAppendTime. The
program always prints which of the two brokers runs.

Run it in the foreground: `python -m include.local.broker --state DIR --port 19092`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from string import Template
from typing import Literal, NoReturn

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from include.local import java
from include.reasons import reason_of
from include.settings import PROJECT_ROOT

JARS = PROJECT_ROOT / ".local" / "kafka-jars"
LOCKS = Path(__file__).parent / "kafka"
CONFIG = LOCKS / "server.properties"
CLUSTER_ID = "Y3J5cHRvLWxha2Vob3VzZQ"
"""A fixed id, so that the landing contract recognises the laptop's cluster after a restart."""
JAVA_OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""The serial collector and only the C1 compiler: with them Kafka starts twice as fast on two cores."""

BOOTSTRAP_FILE = "bootstrap"
"""File in which the built-in broker writes its address."""

Kind = Literal["kafka", "built-in"]


class BrokerError(RuntimeError):
    """The broker cannot be started; the text says why and what to do."""


def available_kind() -> tuple[Kind, str]:
    """The best broker that this machine can run, and the reason in words.

    Raises:
        SettingsError: LOCAL_JAVA_HOME names no Java that can run Kafka.
    """
    home = java.home(LOCKS)
    if home is None:
        return "built-in", f"Kafka's runtime has no wheel for {java.platform_name()}"
    if not java.is_fetched(LOCKS, JARS):
        return "built-in", "Kafka's jars are not there: run make env"
    return "kafka", f"Apache Kafka {java.version_of(LOCKS / java.LOCK, 'kafka_2.13')}"


def java_command() -> list[str]:
    """`java` with Kafka's classes.

    Raises:
        BrokerError: this machine cannot run Apache Kafka.
    """
    home, (kind, reason) = java.home(LOCKS), available_kind()
    if home is None or kind != "kafka":
        raise BrokerError(f"Apache Kafka cannot start: {reason}")
    return [str(home / "bin" / "java"), "-cp", f"{JARS}/*"]


def exec_kafka(state: Path, port: int, controller_port: int) -> NoReturn:
    """Format the data folder if it is new, then become the Kafka broker (same process id).

    Raises:
        BrokerError: the data folder cannot be formatted, or this machine cannot run Apache Kafka.
    """
    command = java_command()
    state.mkdir(parents=True, exist_ok=True)
    config = state / "server.properties"
    config.write_text(
        Template(CONFIG.read_text()).substitute(port=port, controller_port=controller_port, data=state / "data")
    )
    if not (state / "data" / "meta.properties").exists():
        result = subprocess.run(
            [*command, "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", config],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise BrokerError(f"Kafka could not format {state / 'data'}: {result.stderr.strip()[-500:]}")
    os.execv(command[0], [command[0], *JAVA_OPTIONS, *command[1:], "kafka.Kafka", str(config)])


def serve_built_in(state: Path) -> NoReturn:
    """Run librdkafka's broker until killed. It chooses its port, so its address goes to a file in `state`."""
    client = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused:1"})
    broker = next(iter(client.list_topics(timeout=10).brokers.values()))
    state.mkdir(parents=True, exist_ok=True)
    new = state / f"{BOOTSTRAP_FILE}.new"
    new.write_text(f"{broker.host}:{broker.port}")
    new.rename(state / BOOTSTRAP_FILE)
    while True:
        client.poll(1.0)


def built_in_address(state: Path, seconds: float) -> str:
    """Address of a broker started by `serve_built_in`.

    Raises:
        BrokerError: the broker did not write its address within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (state / BOOTSTRAP_FILE).exists():
            return (state / BOOTSTRAP_FILE).read_text()
        time.sleep(0.1)
    raise BrokerError(f"the built-in broker wrote no address to {state / BOOTSTRAP_FILE} within {seconds:.0f} s")


def wait_until_ready(bootstrap: str, seconds: float) -> None:
    """Return when the broker answers.

    Raises:
        BrokerError: the broker did not answer within `seconds`.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline = time.monotonic() + seconds
    while True:
        try:
            admin.list_topics(timeout=1)
            return
        except KafkaException as error:
            if time.monotonic() > deadline:
                text = f"Kafka at {bootstrap} did not answer within {seconds:.0f} s: {reason_of(error)}"
                raise BrokerError(text) from error
            time.sleep(0.1)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Command line of `python -m include.local.broker`."""
    parser = argparse.ArgumentParser(prog="python -m include.local.broker", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder for data and configuration")
    parser.add_argument("--port", type=int, default=19092)
    parser.add_argument("--controller-port", type=int, default=19093)
    parser.add_argument("--kind", choices=["kafka", "built-in"], default=None, help="default: the best available")
    options = parser.parse_args(arguments)
    kind, reason = available_kind()
    kind = options.kind or kind
    print(f"broker: {kind} ({reason})", file=sys.stderr, flush=True)  # noqa: T201
    if kind == "kafka":
        exec_kafka(options.state.resolve(), options.port, options.controller_port)
    serve_built_in(options.state)


if __name__ == "__main__":
    main()
