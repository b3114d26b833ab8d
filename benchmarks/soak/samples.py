"""A sample of the running stack, and the file that keeps the samples of a run: one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec


class Process(msgspec.Struct, frozen=True):
    """One process: memory in bytes, open file handles, threads.

    `rss` counts a page that forked processes share in each of them. `private` (USS) counts only pages of this process.
    `share` (PSS) divides a shared page among its processes, so a sum over a family counts each page once.
    """

    pid: int
    started: float
    rss: int
    private: int
    share: int
    handles: int
    threads: int


class Sample(msgspec.Struct, frozen=True):
    """The stack at one time. `seconds` count from the first sample; sizes are in bytes.

    `programs` has a program's own process first, and then its descendants. `objects` counts the bucket's objects by
    first folder. `mails` has the subjects of all mails. `produced`, `landed` and `lag` count messages. None means that
    a server did not answer.
    """

    seconds: float
    load: float
    programs: dict[str, list[Process]]
    produced: int | None
    landed: int | None
    lag: int | None
    mails: list[str]
    objects: dict[str, int] | None
    warehouse_bytes: int
    transform_runs: int | None
    alerts: list[str] | None


class Run(msgspec.Struct, frozen=True):
    """The first line of the file: when (ISO 8601, UTC) and where it ran, and the settings that differ from the demo."""

    began_at: str
    machine: str
    versions: str
    settings: dict[str, str]


def write_line(path: Path, value: Run | Sample) -> None:
    """Append one line; a run that is killed keeps what it has measured."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(value) + b"\n")


def read(path: Path) -> tuple[Run, list[Sample]]:
    """A run and its samples, in the order in which they were taken."""
    head, *lines = path.read_bytes().splitlines()
    return msgspec.json.decode(head, type=Run), list(_samples(lines))


def _samples(lines: Iterable[bytes]) -> Iterator[Sample]:
    decoder = msgspec.json.Decoder(Sample)
    return (decoder.decode(line) for line in lines)
