"""The interface of a source of quotes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from include.ingest.quote import Quote


class SourceError(RuntimeError):
    """A poll failed.

    `retry_after_seconds` is the wait that the source asked for, None if it did not ask. `fatal` means that another poll
    would fail as well.
    """

    def __init__(self, text: str, *, retry_after_seconds: float | None = None, fatal: bool = False) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds
        self.fatal = fatal


class Source(Protocol):
    """A source of quotes."""

    @property
    def name(self) -> str:
        """Name for logs."""

    @property
    def interval_seconds(self) -> float:
        """Seconds between two polls."""

    def quotes(self) -> Sequence[Quote]:
        """The present quotes, one for each coin.

        Raises:
            SourceError: the source has no usable quotes now.
        """
