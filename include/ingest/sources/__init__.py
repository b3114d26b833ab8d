"""Where quotes come from: one Protocol, three sources."""

from include.ingest.sources.base import COINS, Coin, Source, SourceError

__all__ = ["COINS", "Coin", "Source", "SourceError"]
