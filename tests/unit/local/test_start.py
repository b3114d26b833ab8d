"""The start is over when the running consumer has landed what is on the topic."""

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
    """Programs in one state after the other."""

    def __init__(self, consumer: list[str]) -> None:
        self._consumer = iter(consumer)

    def status(self) -> dict[str, str]:
        return {"consumer": next(self._consumer)}


class Looks(Observer):
    """What is seen of Kafka and S3, one look after the other."""

    def __init__(self, *looks: tuple[int | None, int | None, int | None]) -> None:
        self._looks = iter(looks)

    def look(self, programs: dict[str, str]) -> Status:
        produced, landed, lag = next(self._looks)
        return Status("", produced=produced, landed=landed, lag=lag, programs=programs)


@pytest.mark.parametrize(
    ("consumer", "produced", "landed", "lag"),
    [
        ("BACKOFF", 1000, 1000, 0),
        ("RUNNING", 1000, 5000, 1000),  # an earlier topic's objects, which say nothing of this one
        ("RUNNING", 1000, 500, 500),
        ("RUNNING", 1000, None, 0),
        ("RUNNING", None, 1000, None),
        ("RUNNING", 0, 0, 0),
    ],
)
def test_landed_is_what_the_running_consumer_has_committed(
    tmp_path: Path, consumer: str, produced: int | None, landed: int | None, lag: int | None
) -> None:
    demo = Demo(LocalSettings(state=tmp_path), Programs([consumer, "RUNNING"]), Console(stderr=True))
    said = wait_until_landed(demo, Looks((produced, landed, lag), (2000, 1980, 20)))
    assert said == "1,980 of 2,000 messages"
