"""Sources of quotes: one Protocol, three implementations."""

from include.ingest.sources.base import Poll, Source, SourceError

__all__ = ["Poll", "Source", "SourceError"]
