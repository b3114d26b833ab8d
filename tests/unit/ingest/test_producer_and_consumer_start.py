"""What `python -m include.ingest` says and refuses before producer or consumer begin."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from include.ingest import __main__ as program
from include.ingest import logs
from include.ingest.consumer import EXIT_REFUSED


@pytest.fixture(autouse=True)
def _no_logs_to_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "configure", lambda: None)  # it would undo `capture_logs`


@pytest.mark.parametrize("command", ["consume", "produce"])
def test_a_misspelt_variable_is_named_even_if_another_is_refused(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("CONSUMER_BATCH_RECORD", "1000")
    monkeypatch.setenv("CONSUMER_BATCH_BYTES", "none")
    with capture_logs() as lines:
        assert program.main([command]) == EXIT_REFUSED
    assert [line["log_level"] for line in lines] == ["warning", "error"]
    assert lines[0]["reason"] == "CONSUMER_BATCH_RECORD is not a setting; did you mean CONSUMER_BATCH_RECORDS?"


def test_what_obstore_refuses_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CHECKSUM_ALGORITHM", "nonsense")
    monkeypatch.setenv("CONSUMER_HTTP_PORT", "0")
    monkeypatch.setattr(program, "_on_signals", lambda _stop: None)
    monkeypatch.setattr(program.Starting, "until_ready", lambda *_: pytest.fail("it was started"))
    with capture_logs() as lines:
        assert program.main(["consume"]) == EXIT_REFUSED
    assert "nonsense" in lines[-1]["reason"]
    assert "AWS_*" in lines[-1]["reason"]
