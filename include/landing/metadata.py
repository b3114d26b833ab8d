"""User metadata of a landed object: which range of the topic it holds, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCHEMA = "1"


class MetadataError(ValueError):
    """An object under our prefix does not carry the metadata of the landing contract."""


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """What the S3 headers `x-amz-meta-*` of a data or dead-letter object say.

    The object accounts for every offset from `first_offset` to `last_offset`, and for a
    hole in the offsets directly before `first_offset`. `records` are in the data object's
    array, `rejected` are rows of the dead-letter object (holes included, a row each).
    """

    topic: str
    topic_id: str
    partition: int
    first_offset: int
    last_offset: int
    records: int
    rejected: int
    writer: str

    def to_attributes(self) -> dict[str, str]:
        """As user metadata (names without the `x-amz-meta-` prefix)."""
        return {
            "topic": self.topic,
            "topic-id": self.topic_id,
            "partition": str(self.partition),
            "first-offset": str(self.first_offset),
            "last-offset": str(self.last_offset),
            "records": str(self.records),
            "rejected": str(self.rejected),
            "writer": self.writer,
            "schema": SCHEMA,
        }

    @classmethod
    def from_attributes(cls, key: str, attributes: Mapping[str, str]) -> ObjectMetadata:
        """Read user metadata of the object `key`; names may be in any case.

        Raises:
            MetadataError: a field is missing or no number.
        """
        found = {name.lower(): value for name, value in attributes.items()}
        if found.get("schema") != SCHEMA:
            raise MetadataError(
                f"{key} has metadata schema {found.get('schema')!r}, expected {SCHEMA!r}: "
                "it was not landed by this program; move it out of the prefix"
            )
        try:
            return cls(
                topic=found["topic"],
                topic_id=found["topic-id"],
                partition=int(found["partition"]),
                first_offset=int(found["first-offset"]),
                last_offset=int(found["last-offset"]),
                records=int(found["records"]),
                rejected=int(found["rejected"]),
                writer=found.get("writer", ""),
            )
        except (KeyError, ValueError) as error:
            raise MetadataError(f"{key} lacks usable metadata ({error!r}): move it out of the prefix") from error
