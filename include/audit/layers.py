"""Rows of a day in each layer, held against the day's manifest: a row lost between two layers is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.audit.accounting import partition_of
from include.audit.manifest import DataObject, Finding, LayerTotals, Manifest
from include.settings import StorageSettings

Query = Callable[[str, str], list[dict[str, Any]]]
"""Runs the query of a macro call; see `include.transform.layer_query.rows`."""
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
            LayerQueryError: the warehouse could not be asked.
        """
        counts = self._query(f"audit_layers('{manifest.day}')", f"counting the layers of {manifest.day}")
        bronze = {int(row["part"]): row for row in counts if row["what"] == "bronze"}
        letters = {int(row["part"]): row for row in counts if row["what"] == "dead_letter"}
        gold = next(row for row in counts if row["what"] == "gold")
        findings = [*self._bronze(manifest, bronze), *_dead_letters(manifest, bronze, letters)]
        if any(int(row["misplaced"]) for row in bronze.values()):
            findings += self._misplaced(manifest)
        if int(gold["row_count"]) != int(gold["other_count"]):
            text = f"silver has {gold['other_count']} quotes of {manifest.day}, gold counts {gold['row_count']}"
            findings.append(Finding("lost", text))
        totals = LayerTotals(
            bronze=_sum(bronze.values(), "row_count"),
            silver=_sum(bronze.values(), "in_silver"),
            quarantine=_sum(bronze.values(), "in_quarantine"),
            gold=int(gold["row_count"]),
            not_built=_sum(bronze.values(), "not_built"),
        )
        return LayerReport(totals, tuple(findings))

    def _bronze(self, manifest: Manifest, bronze: Mapping[int, Mapping[str, Any]]) -> list[Finding]:
        """Files of which bronze has another number of rows. Files after the newest loaded record are not loaded yet."""
        findings = []
        for part in manifest.partitions:
            row = bronze.get(part.partition)
            if row is None or (int(row["row_count"]), int(row["other_count"])) == (part.records, part.records):
                continue
            call = f"audit_files('{manifest.day}', {part.partition})"
            loaded = self._query(call, f"counting the files of {manifest.day}")
            counts = {self._key(str(item["source_file"])): int(item["row_count"]) for item in loaded}
            objects = [item for item in manifest.objects if partition_of(item.key) == part.partition]
            loadable = [
                item for item in objects if item.ranges and item.ranges[-1][1] <= int(row["newest_offset"])
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
        rows = self._query(f"audit_offsets('{day}', '{item.key}')", f"reading the rows of {item.key}")
        counts = {int(row["kafka_offset"]): int(row["row_count"]) for row in rows}
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
        for row in self._query(f"audit_misplaced('{manifest.day}')", f"finding misplaced rows of {manifest.day}"):
            silver, quarantine, offset = int(row["in_silver"]), int(row["in_quarantine"]), int(row["kafka_offset"])
            text = f"the record of bronze is {silver} times in silver and {quarantine} times in quarantine"
            key = self._key(str(row["source_file"]))
            findings.append(Finding("lost", text, key, int(row["part"]), offset, offset))
        return findings


def _dead_letters(
    manifest: Manifest, bronze: Mapping[int, Mapping[str, Any]], letters: Mapping[int, Mapping[str, Any]]
) -> list[Finding]:
    """Partitions of which the table of dead letters has another number of rows, if all of them are loaded."""
    findings = []
    for part in manifest.partitions:
        rows = [
            row for item in manifest.dead_letters if partition_of(item.key) == part.partition for row in item.rows
        ]  # fmt: skip
        loaded = int(letters[part.partition]["row_count"]) if part.partition in letters else 0
        newest = int(bronze[part.partition]["newest_offset"]) if part.partition in bronze else -1
        if loaded != len(rows) and newest >= part.end:
            text = f"crypto_dead_letter has {loaded} rows of this day, the bucket has {len(rows)}"
            findings.append(Finding("lost", text, "", part.partition, part.begin, part.end - 1))
    return findings


def _sum(rows: Sequence[Mapping[str, Any]] | Any, column: str) -> int:
    return sum(int(row[column]) for row in rows)
