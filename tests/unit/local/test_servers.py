"""A taken port and data of another broker are refused in one line, with the remedy."""

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
from include.local.servers import check_ports, is_outside, start_servers
from include.local.stack import Demo, DemoError
from include.settings import KafkaSettings, LocalSettings, load_group
from tests.servers import free_port

PORTS = "LOCAL_KAFKA LOCAL_KAFKA_CONTROLLER LOCAL_AWS LOCAL_SMTP LOCAL_AIRFLOW CONSUMER_HTTP PRODUCER_HTTP"


@pytest.mark.parametrize("name", PORTS.split())
def test_a_taken_port_is_named_with_the_setting_that_changes_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
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


def test_a_program_with_port_zero_needs_no_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PORTS.split():
        monkeypatch.setenv(f"{name}_PORT", "0" if name.endswith("HTTP") else str(free_port()))
    check_ports(load_group(LocalSettings))


class NothingStarts(ProcessControl):
    """Ends the start with an error when the programs would begin."""

    def start_supervisor(self, programs: Iterable[Program], environment_file: Path) -> NoReturn:
        raise RuntimeError("starting")


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ("built-in", "kafka", "the built-in broker, this start would use Apache Kafka"),
        ("kafka", "built-in", "Apache Kafka, this start would use the built-in broker"),
        ("kafka", "kafka:9092", "would use the Kafka of KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_data_of_another_broker_is_kept_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, then: str, message: str
) -> None:
    def begin(kind: str) -> None:
        local = LocalSettings(state=tmp_path, broker="given" if ":" in kind else "auto")
        monkeypatch.setattr(broker, "available_kind", lambda: (kind, "as the test says"))
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kind if ":" in kind else "")
        start_servers(Demo(local, NothingStarts(tmp_path), Console(stderr=True)))

    file = Demo(LocalSettings(state=tmp_path), NothingStarts(tmp_path), Console(stderr=True)).environment_file
    for _ in range(2):
        with pytest.raises(RuntimeError, match="starting"):
            begin(first)
        file.write_text("S3_BUCKET=lake\n")
    with pytest.raises(DemoError, match=f"{message}: run make demo-clean first$"):
        begin(then)
    assert file.read_text() == "S3_BUCKET=lake\n"


@pytest.mark.parametrize(
    ("address", "setting", "message"),
    [
        ("kafka.example.com:9092", "auto", "would send quotes to topic selected_crypto_data there"),
        ("127.0.0.1:19092", "given", "LOCAL_BROKER=given needs KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_another_broker_is_used_only_on_purpose(address: str, setting: str, message: str) -> None:
    local = LocalSettings(broker=setting)
    with pytest.raises(DemoError, match=message):
        is_outside(KafkaSettings(bootstrap_servers=address), local)


def test_which_broker_belongs_to_the_demo() -> None:
    own = LocalSettings(kafka_port=29092)
    assert not is_outside(KafkaSettings(bootstrap_servers="127.0.0.1:29092"), own)
    assert not is_outside(KafkaSettings(), own)
    given = LocalSettings(broker="given")
    assert is_outside(KafkaSettings(bootstrap_servers="kafka.example.com:9092"), given)


def test_kafka_on_request_is_not_replaced_by_another_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "available_kind", lambda: ("built-in", "as the test says"))
    demo = Demo(LocalSettings(state=tmp_path, broker="kafka"), NothingStarts(tmp_path), Console(stderr=True))
    with pytest.raises(DemoError, match=r"LOCAL_BROKER=kafka, and Apache Kafka cannot start: as the test says"):
        start_servers(demo)
