"""The interface of a source of quotes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll brought: the usable quotes, and why each other coin has none (symbol to reason)."""

    quotes: Sequence[Quote]
    unusable: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """A source of quotes."""

    @property
    def name(self) -> str:
        """Name for logs."""

    @property
    def interval_seconds(self) -> float:
        """Seconds between two polls."""

    def poll(self) -> Poll:
        """The present quotes, at most one for each coin. A coin without a usable quote does not stop the others.

        Raises:
            SourceError: the source has no usable quote now.
        """
