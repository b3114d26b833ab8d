"""The rows of the audit's queries; include/dbt/macros/audit.sql has the SQL."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

Row = TypeVar("Row")


class Query(Protocol):
    """Runs the query that a call of a macro makes, as `include.transform.inline_query.rows` does."""

    def __call__(self, macro: str, kind: type[Row], /) -> list[Row]:
        """All rows, each as a struct of this kind."""
        ...


class DayCount(msgspec.Struct, frozen=True):
    """A row of `audit_layers`: the counts of a day by partition; of gold there is one row, for all partitions."""

    what: str
    part: int
    row_count: int
    other_count: int
    not_built: int
    in_silver: int
    in_quarantine: int
    misplaced: int
    newest_offset: int


class FileCount(msgspec.Struct, frozen=True):
    """A row of `audit_files`."""

    source_file: str
    row_count: int


class OffsetCount(msgspec.Struct, frozen=True):
    """A row of `audit_offsets`."""

    kafka_offset: int
    row_count: int


class Misplaced(msgspec.Struct, frozen=True):
    """A row of `audit_misplaced`: a record, and how many rows silver and quarantine have of it."""

    part: int
    kafka_offset: int
    source_file: str
    in_silver: int
    in_quarantine: int


class Placed(msgspec.Struct, frozen=True):
    """A row of `audit_record`: a layer with the record. `found` is the file, the rule in quarantine, or gold's hour."""

    layer: str
    found: str
    since: str


class QuotePlace(msgspec.Struct, frozen=True):
    """A row of `audit_quotes`."""

    part: int
    kafka_offset: int
