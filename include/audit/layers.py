"""Rows of a day in each layer, held against the day's manifest: a row lost between two layers is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from include.audit.accounting import partition_of
from include.audit.manifest import DataObject, Finding, LayerTotals, Manifest
from include.audit.queries import DayCount, FileCount, Misplaced, OffsetCount, Query
from include.settings import StorageSettings

MOST_FILES = 10
"""Files of a partition whose rows are looked up one by one; each costs a query."""


@dataclass(frozen=True, slots=True)
class LayerReport:
    """The totals of a day, and the rows that are lost or doubled."""

    totals: LayerTotals
    findings: tuple[Finding, ...]


class LayerCounts:
    """Counts a day by one query. Only a day with a difference costs more of them."""

    def __init__(self, query: Query, storage: StorageSettings) -> None:
        self._query = query
        self._storage = storage

    def __call__(self, manifest: Manifest) -> LayerReport:
        """The report of the manifest's day.

        Raises:
            InlineQueryError: the warehouse could not be asked.
        """
        counts = self._query(f"audit_layers('{manifest.day}')", DayCount)
        bronze = {row.part: row for row in counts if row.what == "bronze"}
        letters = {row.part: row for row in counts if row.what == "dead_letter"}
        gold = next(row for row in counts if row.what == "gold")
        findings = [*self._bronze(manifest, bronze), *_dead_letters(manifest, bronze, letters)]
        if any(row.misplaced for row in bronze.values()):
            findings += self._misplaced(manifest)
        if gold.row_count != gold.other_count:
            text = f"silver has {gold.other_count} quotes of {manifest.day}, gold counts {gold.row_count}"
            findings.append(Finding("lost", text))
        totals = LayerTotals(
            bronze=sum(row.row_count for row in bronze.values()),
            silver=sum(row.in_silver for row in bronze.values()),
            quarantine=sum(row.in_quarantine for row in bronze.values()),
            gold=gold.row_count,
            not_built=sum(row.not_built for row in bronze.values()),
        )
        return LayerReport(totals, tuple(findings))

    def _bronze(self, manifest: Manifest, bronze: Mapping[int, DayCount]) -> list[Finding]:
        """Files of which bronze has another number of rows. Files after the newest loaded record are not loaded yet."""
        findings = []
        for part in manifest.partitions:
            row = bronze.get(part.partition)
            if row is None or (row.row_count, row.other_count) == (part.records, part.records):
                continue
            loaded = self._query(f"audit_files('{manifest.day}', {part.partition})", FileCount)
            counts = {self._key(item.source_file): item.row_count for item in loaded}
            objects = [item for item in manifest.objects if partition_of(item.key) == part.partition]
            loadable = [
                item for item in objects if item.ranges and item.ranges[-1][1] <= row.newest_offset
            ]  # fmt: skip
            differing = [item for item in loadable if counts.get(item.key, 0) != item.records]
            for item in differing[:MOST_FILES]:
                findings += self._rows_of(manifest.day, item)
            if len(differing) > MOST_FILES:
                text = f"{len(differing) - MOST_FILES} more files have another number of rows in bronze"
                findings.append(Finding("lost", text, "", part.partition, part.begin, part.end - 1))
            for key in sorted(counts.keys() - {item.key for item in objects}):
                text = f"bronze has {counts[key]} rows of it, and there is no such object"
                findings.append(Finding("lost", text, key))
        return findings

    def _key(self, path: str) -> str:
        return path.removeprefix(f"s3://{self._storage.bucket}/")

    def _rows_of(self, day: str, item: DataObject) -> list[Finding]:
        rows = self._query(f"audit_offsets('{day}', '{item.key}')", OffsetCount)
        counts = {row.kafka_offset: row.row_count for row in rows}
        expected = [offset for first, last in item.ranges for offset in range(first, last + 1)]
        absent = [offset for offset in expected if offset not in counts]
        doubled = [offset for offset, count in counts.items() if count > 1]
        number = partition_of(item.key)
        if item.holes:  # which of the absent offsets are holes stands in the object only
            text = f"bronze has {len(counts)} of its {item.records} records"
            return [Finding("lost", text, item.key, number, item.ranges[0][0], item.ranges[-1][1])]
        texts = [(offset, "bronze does not have this record") for offset in absent]
        texts += [(offset, f"bronze has {counts[offset]} rows of this record") for offset in doubled]
        return [Finding("lost", text, item.key, number, offset, offset) for offset, text in texts[:MOST_FILES]]

    def _misplaced(self, manifest: Manifest) -> list[Finding]:
        """Bronze rows that are not in exactly one of silver and quarantine."""
        findings = []
        for row in self._query(f"audit_misplaced('{manifest.day}')", Misplaced):
            times = f"{row.in_silver} times in silver and {row.in_quarantine} times in quarantine"
            text, offset = f"the record of bronze is {times}", row.kafka_offset
            findings.append(Finding("lost", text, self._key(row.source_file), row.part, offset, offset))
        return findings


def _dead_letters(manifest: Manifest, bronze: Mapping[int, DayCount], letters: Mapping[int, DayCount]) -> list[Finding]:
    """Partitions of which the table of dead letters has another number of rows, if all of them are loaded."""
    findings = []
    for part in manifest.partitions:
        rows = [
            row for item in manifest.dead_letters if partition_of(item.key) == part.partition for row in item.rows
        ]  # fmt: skip
        loaded = letters[part.partition].row_count if part.partition in letters else 0
        newest = bronze[part.partition].newest_offset if part.partition in bronze else -1
        if loaded != len(rows) and newest >= part.end:
            text = f"crypto_dead_letter has {loaded} rows of this day, the bucket has {len(rows)}"
            findings.append(Finding("lost", text, "", part.partition, part.begin, part.end - 1))
    return findings
