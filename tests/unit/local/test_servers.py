"""A taken port, and data of another broker, are one clear line with the remedy."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console

from include.local import broker
from include.local.process_control import ProcessControl
from include.local.programs import Program
from include.local.servers import check_ports, start_servers
from include.local.stack import Demo, DemoError
from include.settings import LocalSettings, load_group
from tests.servers import free_port

PORTS = "LOCAL_KAFKA LOCAL_KAFKA_CONTROLLER LOCAL_AWS LOCAL_SMTP LOCAL_AIRFLOW CONSUMER_HTTP PRODUCER_HTTP"


@pytest.mark.parametrize("name", PORTS.split())
def test_taken_port_is_named_with_the_setting_that_moves_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for free in PORTS.split():
        monkeypatch.setenv(f"{free}_PORT", str(free_port()))
    check_ports(load_group(LocalSettings))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv(f"{name}_PORT", str(port))
        with pytest.raises(DemoError, match=f"port {port} is taken.* {name}_PORT={port + 10} make demo"):
            check_ports(load_group(LocalSettings))


def test_a_program_without_a_port_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PORTS.split():
        monkeypatch.setenv(f"{name}_PORT", "0" if name.endswith("HTTP") else str(free_port()))
    check_ports(load_group(LocalSettings))


class NothingStarts(ProcessControl):
    """The programs of a start that gets so far and no further."""

    def start_supervisor(self, programs: Iterable[Program], environment_file: Path) -> NoReturn:
        raise RuntimeError("starting")


@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        ("built-in", "kafka", "the built-in broker, this start would use Apache Kafka"),
        ("kafka", "built-in", "Apache Kafka, this start would use the built-in broker"),
        ("kafka", "kafka:9092", "would use the Kafka of KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_data_of_another_broker_are_kept_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, then: str, says: str
) -> None:
    demo = Demo(LocalSettings(state=tmp_path), NothingStarts(tmp_path), Console(stderr=True))

    def begin(which: str) -> None:
        monkeypatch.setattr(broker, "available_kind", lambda: (which, "as the test says"))
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", which if ":" in which else "")
        start_servers(demo)

    for _ in range(2):
        with pytest.raises(RuntimeError, match="starting"):
            begin(first)
        demo.environment_file.write_text("S3_BUCKET=lake\n")
    with pytest.raises(DemoError, match=f"{says}: run make demo-clean first$"):
        begin(then)
    assert demo.environment_file.read_text() == "S3_BUCKET=lake\n"
