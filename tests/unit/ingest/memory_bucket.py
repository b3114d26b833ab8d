"""An S3 in memory, with conditional writes and metadata."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import obstore
from obstore.store import MemoryStore


class Bucket(MemoryStore):
    """A store in memory with a bucket's name, which tests/policy_guard.py reads."""

    config = {"bucket": "bucket"}  # noqa: RUF012 - as S3Store has it


class Pages:
    """Lists a bucket as S3 does, page by page, as slowly as a test needs. All listings wait until `open` is set."""

    def __init__(self) -> None:
        self.prefixes: list[str] = []
        self.open = threading.Event()
        self.failures: list[Exception] = []
        self._list = obstore.list

    @property
    def listings(self) -> int:
        """Number of listings. Each lists the dead letters first, then the data."""
        return self.prefixes.count("dead_letter/")

    def list(self, store: Any, prefix: str) -> Iterator[Any]:
        self.prefixes.append(prefix)
        yield []
        assert self.open.wait(60)
        if self.failures:
            raise self.failures.pop(0)
        yield from self._list(store, prefix=prefix)
