"""The manifest of a day: what the bucket holds of it, in a form that others can compute again (docs/audit.md).

A manifest says nothing that it took from an object's metadata. Everything about an object comes from its name and its
body, so a copy of the bucket is enough to repeat it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from include.instants import Instant

VERSION = 1
FIRST = "0" * 64
"""`previous` of the first day."""
ROOT = "root"

Range = tuple[int, int]
"""First and last offset, inclusive."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that must not be. `kind` is a key of `REMEDIES`; the offsets are inclusive."""

    kind: str
    text: str
    key: str = ""
    partition: int | None = None
    first: int | None = None
    last: int | None = None

    def line(self) -> str:
        """One line: kind, place, text and remedy."""
        place = self.key
        if self.partition is not None and self.first is not None:
            end = "" if self.last in (None, self.first) else f" to {self.last}"
            place = f"{place} " if place else ""
            place += f"partition {self.partition}, offset {self.first}{end}"
        return f"{self.kind}: {place}: {self.text}; {REMEDIES[self.kind]}"


REMEDIES: Mapping[str, str] = {
    "missing": "restore the object from its last version",
    "doubled": "compare the objects, and move the one that was put there by hand out of the prefix",
    "altered": "restore the version that the manifest names, see the ETag",
    "foreign": "find out who wrote it, and move it out of the prefix",
    "misfiled": "move it back under the name of its first record",
    "broken": "restore an earlier version of the object",
    "hole": "look for a deleted version of an object between the neighbours, else read the offsets from Kafka",
    "lost": "load the day again (docs/data-quality.md, Loading bronze again), then build silver and gold",
    "chain": "restore an earlier version of the manifest, or audit the day again with --again",
}
"""Kind of a finding -> what to do."""


class LandedObject(msgspec.Struct, frozen=True):
    """An object of the day. `etag` and `modified` are S3's; everything else follows from key and body.

    `sha256` is of the stored bytes, `size` their number.
    """

    key: str
    size: int
    etag: str
    modified: Instant
    sha256: str


class DataObject(LandedObject, frozen=True):
    """A data object with `records` rows.

    `ranges` are the offsets that its rows account for, holes before them included; `holes` is their number of offsets.
    """

    records: int
    holes: int
    ranges: tuple[Range, ...]


class DeadLetterObject(LandedObject, frozen=True):
    """A dead-letter object. A row is (first offset, last offset, class, reason); only a gap has a reason here."""

    rows: tuple[tuple[int, int, str, str], ...]


class KafkaOffsets(msgspec.Struct, frozen=True):
    """A partition in Kafka at the time of the audit: the log's begin and end, and the group's commit.

    `committed` is None without a commit. `records_end` is the end of the records that the commit names, if it is after
    a hole at the log's end.
    """

    begin: int
    end: int
    committed: int | None
    records_end: int | None = None


class PartitionDay(msgspec.Struct, frozen=True):
    """One partition on one day: offsets `begin` to `end` - 1, and the number of each kind."""

    partition: int
    begin: int
    end: int
    records: int
    rejected: int
    gaps: int
    holes: int
    objects: int
    dead_letter_objects: int
    kafka: KafkaOffsets | None = None


class Gap(msgspec.Struct, frozen=True):
    """Offsets without a message that a dead-letter row names, and the reason."""

    partition: int
    first: int
    last: int
    reason: str
    key: str


class LayerTotals(msgspec.Struct, frozen=True):
    """Rows of the day in each layer. `not_built` are bronze rows that silver's last build had not seen yet."""

    bronze: int
    silver: int
    quarantine: int
    gold: int
    not_built: int


class Manifest(msgspec.Struct, frozen=True):
    """The manifest of one UTC day of object keys."""

    version: int
    day: str
    topic: str
    topic_id: str
    data_prefix: str
    dead_letter_prefix: str
    audited_at: Instant
    previous: str
    partitions: tuple[PartitionDay, ...]
    objects: tuple[DataObject, ...]
    dead_letters: tuple[DeadLetterObject, ...]
    rejects: Mapping[str, int]
    gaps: tuple[Gap, ...]
    layers: LayerTotals | None
    findings: tuple[Finding, ...] = ()
    replaces: str = ""
    """Root of the manifest that this one replaced (`--again`)."""

    def landed(self) -> list[DataObject | DeadLetterObject]:
        """Every object of the day."""
        return [*self.objects, *self.dead_letters]

    def ends(self) -> dict[int, int]:
        """The offset after the last one of each partition, this day and earlier days."""
        return {part.partition: part.end for part in self.partitions}


def canonical(fields: Mapping[str, Any]) -> bytes:
    """JSON with sorted names and without spaces: the same content has the same bytes."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def root_of(manifest: Manifest) -> str:
    """The root hash: SHA-256 of the canonical JSON without the root itself, in hex."""
    return hashlib.sha256(canonical(msgspec.to_builtins(manifest))).hexdigest()


def to_json(manifest: Manifest) -> bytes:
    """The object in S3: canonical JSON with the root."""
    fields = msgspec.to_builtins(manifest)
    return canonical({**fields, ROOT: hashlib.sha256(canonical(fields)).hexdigest()}) + b"\n"


class ManifestError(ValueError):
    """A manifest is not readable, or its root does not fit its content; the text names the remedy."""


def from_json(key: str, body: bytes) -> tuple[Manifest, str]:
    """A manifest and its root.

    Raises:
        ManifestError: it is not a manifest of this version, or it was edited.
    """
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
        stated = str(msgspec.json.decode(body)[ROOT])
    except (msgspec.MsgspecError, KeyError) as error:
        raise ManifestError(f"{key} is not a manifest ({error}): {REMEDIES['chain']}") from error
    if manifest.version != VERSION:
        raise ManifestError(f"{key} has version {manifest.version}: run the version of this program that wrote it")
    if root_of(manifest) != stated:
        raise ManifestError(f"{key} was edited: its content does not have the root {stated}: {REMEDIES['chain']}")
    return manifest, stated


def manifest_key(prefix: str, day: date) -> str:
    """Like audit/2026/11/23.json."""
    return f"{prefix}{day:%Y/%m/%d}.json"


def day_of_key(prefix: str, key: str) -> date | None:
    """The day of a manifest's key, None of another key."""
    text = key.removeprefix(prefix).removesuffix(".json")
    try:
        day = date.fromisoformat(text.replace("/", "-"))
    except ValueError:
        return None
    return day if manifest_key(prefix, day) == key else None


def partition_day(
    partition: int, begin: int, end: int, data: Sequence[DataObject], letters: Sequence[DeadLetterObject],
    kafka: KafkaOffsets | None,
) -> PartitionDay:  # fmt: skip
    """The counts of one partition."""
    rows = [row for letter in letters for row in letter.rows]
    return PartitionDay(
        partition=partition,
        begin=begin,
        end=end,
        records=sum(item.records for item in data),
        rejected=sum(row[2] != "gap" for row in rows),
        gaps=sum(row[1] - row[0] + 1 for row in rows if row[2] == "gap"),
        holes=sum(item.holes for item in data),
        objects=len(data),
        dead_letter_objects=len(letters),
        kafka=kafka,
    )
