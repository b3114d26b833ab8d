"""Sources of quotes: one Protocol, three implementations."""

from include.ingest.sources.base import Source, SourceError

__all__ = ["Source", "SourceError"]
