"""The start ends when the running consumer has landed most messages of the topic."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from include.local.process_control import ProcessControl
from include.local.stack import Demo
from include.local.start import wait_until_landed
from include.local.status import Observer, Status
from include.settings import LocalSettings


class Programs(ProcessControl):
    """Reports one state of the consumer after another."""

    def __init__(self, consumer: list[str]) -> None:
        self._consumer = iter(consumer)

    def status(self) -> dict[str, str]:
        return {"consumer": next(self._consumer)}


class Observations(Observer):
    """Reports one state of Kafka and S3 after another."""

    def __init__(self, *observations: tuple[int | None, int | None, int | None]) -> None:
        self._observations = iter(observations)

    def read_status(self, programs: dict[str, str]) -> Status:
        produced, landed, lag = next(self._observations)
        return Status("", produced=produced, landed=landed, lag=lag, programs=programs)


@pytest.mark.parametrize(
    ("consumer", "produced", "landed", "lag"),
    [
        ("BACKOFF", 1000, 1000, 0),
        ("RUNNING", 1000, 5000, 1000),  # objects of an earlier topic do not count
        ("RUNNING", 1000, 500, 500),
        ("RUNNING", 1000, None, 0),
        ("RUNNING", None, 1000, None),
        ("RUNNING", 0, 0, 0),
    ],
)
def test_only_messages_that_the_running_consumer_committed_are_landed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    consumer: str,
    produced: int | None,
    landed: int | None,
    lag: int | None,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    demo = Demo(LocalSettings(state=tmp_path), Programs([consumer, "RUNNING"]), Console(stderr=True))
    summary = wait_until_landed(demo, Observations((produced, landed, lag), (2000, 1980, 20)))
    assert summary == "1,980 of 2,000 messages"
