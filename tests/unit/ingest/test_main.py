"""The logs and refusals of `python -m include.ingest` before producer or consumer start."""

from __future__ import annotations

import json
import socket

import pytest
from structlog.testing import capture_logs

from include.ingest import __main__ as program
from include.ingest import logs, producer
from include.ingest.consumer import EXIT_REFUSED


@pytest.fixture(autouse=True)
def _no_logs_to_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "configure", lambda: None)  # it would undo `capture_logs`


@pytest.mark.parametrize("command", ["consume", "produce"])
def test_a_misspelt_variable_is_named_beside_a_refused_one(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("CONSUMER_BATCH_RECORD", "1000")
    monkeypatch.setenv("CONSUMER_BATCH_BYTES", "none")
    with capture_logs() as lines:
        assert program.main([command]) == EXIT_REFUSED
    assert [line["log_level"] for line in lines] == ["warning", "error"]
    assert lines[0]["reason"] == "CONSUMER_BATCH_RECORD is not a setting; did you mean CONSUMER_BATCH_RECORDS?"


def test_a_setting_that_obstore_refuses_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CHECKSUM_ALGORITHM", "nonsense")
    monkeypatch.setenv("CONSUMER_HTTP_PORT", "0")
    monkeypatch.setattr(program, "on_signals", lambda _stop: None)
    monkeypatch.setattr(program.Starting, "until_ready", lambda *_: pytest.fail("started"))
    with capture_logs() as lines:
        assert program.main(["consume"]) == EXIT_REFUSED
    assert "nonsense" in lines[-1]["reason"]
    assert "AWS_*" in lines[-1]["reason"]


@pytest.fixture
def _no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "on_signals", lambda _stop: None)
    monkeypatch.setattr(program.Starting, "until_ready", lambda *_: None)
    monkeypatch.setattr(producer.Producer, "run", lambda _: 0)


@pytest.mark.usefixtures("_no_start")
@pytest.mark.parametrize("command", ["consume", "produce"])
def test_a_taken_port_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    prefix = f"{command}r".upper()
    with socket.create_server(("127.0.0.1", 0)) as other, capture_logs() as lines:
        port = other.getsockname()[1]
        monkeypatch.setenv(f"{prefix}_HTTP_PORT", str(port))
        assert program.main([command]) == EXIT_REFUSED
    assert lines[-1]["reason"].startswith(f"{prefix}_HTTP_HOST='127.0.0.1', {prefix}_HTTP_PORT={port}: cannot listen")
    assert "in use" in lines[-1]["reason"]
    assert "0 switches" in lines[-1]["reason"]


@pytest.mark.usefixtures("_no_start")
@pytest.mark.parametrize("command", ["consume", "produce"])
@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", f"{'a' * 64}.example.com"])
def test_a_foreign_host_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, command: str, host: str) -> None:
    prefix = f"{command}r".upper()
    monkeypatch.setenv(f"{prefix}_HTTP_HOST", host)
    with capture_logs() as lines:
        assert program.main([command]) == EXIT_REFUSED
    assert lines[-1]["reason"].startswith(f"{prefix}_HTTP_HOST={host!r}, ")


@pytest.mark.usefixtures("_no_start")
@pytest.mark.parametrize(
    ("command", "ignored"),
    [("consume", "auto.offset.reset, enable.auto.commit, group.id"), ("produce", "acks, enable.idempotence")],
)
def test_ignored_options_are_named(monkeypatch: pytest.MonkeyPatch, command: str, ignored: str) -> None:
    options = {
        "group.id": "mine", "enable.auto.commit": True, "auto.offset.reset": "earliest", "acks": 1,
        "enable.idempotence": "false", "client.id": "lake", "enable.auto.offset.store": "false",
    }  # fmt: skip
    monkeypatch.setenv("KAFKA_OPTIONS", json.dumps(options))
    monkeypatch.setenv(f"{command}r_HTTP_PORT".upper(), "0")
    with capture_logs() as lines:
        assert program.main([command]) == 0
    assert [(line["log_level"], line["reason"]) for line in lines] == [
        ("warning", f"KAFKA_OPTIONS: {ignored} ignored, delivery depends on ours")
    ]


@pytest.mark.usefixtures("_no_start")
def test_options_that_the_brokers_have_are_named_as_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"group.protocol": "consumer", "session.timeout.ms": 9000, "partition.assignment.strategy": "range"}
    monkeypatch.setenv("KAFKA_OPTIONS", json.dumps(options))
    monkeypatch.setenv("CONSUMER_HTTP_PORT", "0")
    with capture_logs() as lines:
        assert program.main(["consume"]) == 0
    assert [line["reason"] for line in lines] == [
        "KAFKA_OPTIONS: partition.assignment.strategy, session.timeout.ms ignored, "
        "with group.protocol=consumer the brokers have them"
    ]


@pytest.mark.usefixtures("_no_start")
@pytest.mark.parametrize(
    ("command", "same"), [("consume", {"enable.auto.commit": "0"}), ("produce", {"acks": -1, "enable.idempotence": 1})]
)
def test_used_options_are_not_named(monkeypatch: pytest.MonkeyPatch, command: str, same: dict[str, object]) -> None:
    monkeypatch.setenv("KAFKA_OPTIONS", json.dumps({"client.id": "lake", "linger.ms": 5} | same))
    monkeypatch.setenv(f"{command}r_HTTP_PORT".upper(), "0")
    with capture_logs() as lines:
        assert program.main([command]) == 0
    assert lines == []


@pytest.mark.parametrize("key", ["hunter2-key\n", "hunter2-key ", "hunter2-k\u00e9y", "hunter2\tkey"])
def test_a_key_that_no_header_can_hold_is_refused_unshown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("PRODUCER_SOURCE", "coinmarketcap")
    monkeypatch.setenv("PRODUCER_COINMARKETCAP_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PRODUCER_COINMARKETCAP_API_KEY", key)
    monkeypatch.setenv("PRODUCER_HTTP_PORT", "0")
    monkeypatch.setattr(producer.Producer, "run", lambda _: pytest.fail("started"))
    with capture_logs() as lines:
        assert program.main(["produce"]) == EXIT_REFUSED
    assert lines[-1]["reason"].startswith("PRODUCER_COINMARKETCAP_API_KEY: ")
    assert "hunter2" not in str(lines)
