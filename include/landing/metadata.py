"""User metadata of a landed object, typed: the range of the topic that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCHEMA = "1"


class MetadataError(ValueError):
    """An object under our prefix does not carry the metadata of the landing contract."""


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """The S3 headers `x-amz-meta-*` of a data or dead-letter object.

    The object accounts for every offset from `first_offset` to `last_offset`, and for a hole in the offsets directly
    before `first_offset`. `records` is the number of rows of the data object, `rejected` that of the dead-letter object
    (holes included, a row each).
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
            MetadataError: a field is missing or not a number.
        """
        fields = {name.lower(): value for name, value in attributes.items()}
        if fields.get("schema") != SCHEMA:
            raise MetadataError(
                f"{key} has metadata schema {fields.get('schema')!r}, expected {SCHEMA!r}: "
                "it was not landed by this program; move it out of the prefix"
            )
        try:
            return cls(
                topic=fields["topic"],
                topic_id=fields["topic-id"],
                partition=int(fields["partition"]),
                first_offset=int(fields["first-offset"]),
                last_offset=int(fields["last-offset"]),
                records=int(fields["records"]),
                rejected=int(fields["rejected"]),
                writer=fields.get("writer", ""),
            )
        except (KeyError, ValueError) as error:
            raise MetadataError(f"{key} lacks usable metadata ({error!r}): move it out of the prefix") from error
