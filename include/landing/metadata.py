"""User metadata of a landed object, typed: the range of the topic that it holds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

SCHEMA = "1"


class MetadataError(ValueError):
    """An object under our prefix does not have the metadata of the landing contract."""


class ObjectMetadata(msgspec.Struct, frozen=True, rename="kebab"):
    """The S3 headers `x-amz-meta-*` of a data or dead-letter object.

    The object accounts for every offset from `first_offset` to `last_offset`. If the offsets directly before
    `first_offset` have no record, it accounts for them too, from `begin_offset` on. `records` is the number of rows in
    the data object. `rejected` is the number of rows in the dead-letter object; a hole before a rejected record is a
    row too.
    """

    topic: str
    topic_id: str
    partition: int
    first_offset: int
    last_offset: int
    records: int
    rejected: int
    writer: str = ""
    begin_offset: int | None = None

    @property
    def begin(self) -> int:
        """The first offset that the object accounts for."""
        return self.first_offset if self.begin_offset is None else self.begin_offset

    def to_attributes(self) -> dict[str, str]:
        """As user metadata (names without the `x-amz-meta-` prefix)."""
        fields = msgspec.to_builtins(self).items()
        return {name: str(value) for name, value in fields if value is not None} | {"schema": SCHEMA}

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
            return msgspec.convert(fields, cls, strict=False)
        except msgspec.ValidationError as error:
            raise MetadataError(f"{key} lacks usable metadata ({error}): move it out of the prefix") from error
