"""An S3 in memory, with conditional writes and metadata."""

from __future__ import annotations

from obstore.store import MemoryStore


class Bucket(MemoryStore):
    """The guard of our IAM policies asks for its name."""

    config = {"bucket": "bucket"}  # noqa: RUF012 - as S3Store has it
