"""Opens the laptop's warehouse file. DuckDB locks it: one process writes, or several processes read, but not both."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb

PATIENCE_SECONDS = 600.0
"""How long to wait for the file. A transform's task holds it for seconds; a person's query may hold it for minutes."""
TELL_SECONDS = 15.0
"""Time between two messages while waiting."""


class WarehouseLockedError(RuntimeError):
    """Another process kept the file open; the text names it and the remedy."""


def open_when_free(
    path: Path,
    *,
    read_only: bool,
    config: Mapping[str, str],
    tell: Callable[[str], None],
    patience_seconds: float = PATIENCE_SECONDS,
) -> duckdb.DuckDBPyConnection:
    """A connection to the file, as soon as no other process has it open in a way that forbids this.

    While it waits, `tell` gets a message with the process that holds the file.

    Raises:
        WarehouseLockedError: the file is still locked after `patience_seconds`.
        duckdb.Error: the file cannot be opened for another reason.
    """
    started = time.monotonic()
    next_message = started
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=dict(config))
        except duckdb.IOException as error:
            holder = lock_holder(str(error))
            if holder is None:
                raise
            now = time.monotonic()
            if now - started >= patience_seconds:
                raise WarehouseLockedError(
                    f"the warehouse {path} was open in {holder} for {patience_seconds:.0f} s: close it there, and read "
                    "from a copy instead (make demo-sql)"
                ) from error
            if now >= next_message:
                tell(f"waiting for the warehouse {path}: it is open in {holder}")
                next_message = now + TELL_SECONDS
            time.sleep(0.2)


def lock_holder(message: str) -> str | None:
    """The process that DuckDB names in its error about a lock, in words; None if the error is not about a lock."""
    if "Could not set lock" not in message:
        return None
    held = re.search(r"held in (?P<program>.+?) \(PID (?P<id>\d+)\)", message)
    return f"process {held['id']} ({held['program']})" if held else "a process that DuckDB does not name"
