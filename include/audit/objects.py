"""What one object holds: from its name, its body and its metadata. Pure: no clock, no network."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import msgspec

from include.audit.manifest import DataObject, DeadLetterObject, Finding, Range
from include.ingest.listing import ADOPT
from include.landing.layout import ObjectKey, instant, parse_key
from include.landing.metadata import MetadataError, ObjectMetadata


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as S3 lists it, with the parts of its name."""

    key: str
    name: ObjectKey
    size: int
    etag: str
    modified: datetime


Landed: TypeAlias = DataObject | DeadLetterObject


@dataclass(frozen=True, slots=True)
class Reading:
    """A read object. `first_time` is Kafka's time (ms) of the record that gives the name; None if it has no such row.

    `metadata` is None if it is not usable.
    """

    entry: Landed
    metadata: ObjectMetadata | None
    first_time: int | None
    findings: tuple[Finding, ...]


class _Row(msgspec.Struct, frozen=True):
    """The fields of a row that the audit needs; those of a dead letter have defaults."""

    topic: str = msgspec.field(name="_topic")
    partition: int = msgspec.field(name="_partition")
    offset: int = msgspec.field(name="_offset")
    timestamp: int = msgspec.field(name="_timestamp")
    hole: int = msgspec.field(name="_hole", default=0)
    last_offset: int | None = None
    error_class: str = ""
    error: str = ""


_decode = msgspec.json.Decoder(list[_Row]).decode


class _Message(msgspec.Struct, frozen=True):
    """The same for a data object: a producer may send fields with the names of a dead letter's."""

    topic: str = msgspec.field(name="_topic")
    partition: int = msgspec.field(name="_partition")
    offset: int = msgspec.field(name="_offset")
    timestamp: int = msgspec.field(name="_timestamp")
    hole: int = msgspec.field(name="_hole", default=0)


_decode_messages = msgspec.json.Decoder(list[_Message]).decode


def read_object(listed: Listed, body: bytes, attributes: Mapping[str, str], topic_id: str | None) -> Reading:
    """The entry of an object and what is wrong with it alone. `topic_id` is the contract's, None without a contract."""
    is_data, findings = listed.name.kind == "crypto_data", list[Finding]()
    rows: Sequence[_Row | _Message] = ()
    try:
        plain = zlib.decompress(body, 16 + zlib.MAX_WBITS) if listed.name.suffix.endswith(".gz") else body
        rows = _decode_messages(plain) if is_data else _decode(plain)
    except (msgspec.MsgspecError, zlib.error) as error:
        findings.append(Finding("broken", f"its body is not as the landing contract says ({error})", listed.key))
    if any(row.partition != listed.name.partition for row in rows):
        findings.append(Finding("misfiled", "it has rows of another partition than its name", listed.key))
        rows = [row for row in rows if row.partition == listed.name.partition]
    if not is_data and any(not row.error_class for row in rows if isinstance(row, _Row)):
        findings.append(Finding("broken", "a row has no error_class, so it is not a dead letter", listed.key))
    metadata = _metadata(listed, attributes, topic_id, findings)
    digest = hashlib.sha256(body).hexdigest()
    place = (listed.key, listed.size, listed.etag, listed.modified, digest)
    entry: Landed
    if is_data:
        holes = sum(row.hole for row in rows)
        entry = DataObject(*place, len(rows), holes, merged((row.offset - row.hole, row.offset) for row in rows))
    else:
        entry = DeadLetterObject(*place, _letter_rows([row for row in rows if isinstance(row, _Row)]))
    first = next((row.timestamp for row in rows if row.offset == listed.name.first_offset), None)
    return Reading(entry, metadata, first, tuple(findings))


def _metadata(
    listed: Listed, attributes: Mapping[str, str], topic_id: str | None, findings: list[Finding]
) -> ObjectMetadata | None:
    try:
        metadata = ObjectMetadata.from_attributes(listed.key, attributes)
    except MetadataError as error:
        findings.append(Finding("broken", str(error), listed.key))
        return None
    if topic_id is not None and metadata.topic_id != topic_id:
        text = f"it is of topic {metadata.topic}, topic id {metadata.topic_id}; this prefix is of topic id {topic_id}"
        findings.append(Finding("foreign", text, listed.key))
    return metadata


def _letter_rows(rows: Sequence[_Row]) -> tuple[tuple[int, int, str, str], ...]:
    """The rows of a dead-letter object in the order of their offsets. Neighbours of one class are one row."""
    ordered = sorted(
        (row.offset, row.offset if row.last_offset is None else row.last_offset, row.error_class,
         row.error if row.error_class == "gap" else "") for row in rows
    )  # fmt: skip
    return tuple(ordered)


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Ranges in order, with adjoining ones joined; overlapping ones stay apart, so that an overlap is seen."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and joined[-1][1] == first - 1:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return tuple(joined)


def check_pair(listed: Listed, data: Reading | None, letters: Reading | None) -> list[Finding]:
    """The faults of a data object and its dead letters together; either may be absent, or known and not read.

    `listed` is the data object, or the dead-letter object if there is no data object.
    """
    findings: list[Finding] = []
    times = [reading.first_time for reading in (data, letters) if reading and reading.first_time is not None]
    for reading in (data, letters):
        if reading is not None and times:
            findings += _misfiled(reading.entry.key, parse_key(reading.entry.key) or listed.name, times[0])
    if data is not None and isinstance(data.entry, DataObject) and data.metadata is not None:
        findings += _contradictions(data.entry, data.metadata, listed.name, letters)
    if letters is not None and isinstance(letters.entry, DeadLetterObject) and letters.metadata is not None:
        stated = letters.metadata
        if listed.name.kind == "dead_letter" and stated.writer != ADOPT:
            text = f"{letters.entry.key} has no data object with the same partition and offset"
            place = (stated.partition, stated.begin, stated.last_offset)
            findings.append(Finding("missing", text, "", *place))
        if (stated.partition, stated.first_offset) != (listed.name.partition, listed.name.first_offset):
            findings.append(Finding("broken", "its metadata contradict its name", letters.entry.key))
        elif stated.rejected != len(letters.entry.rows) and not _is_broken(letters):
            text = f"its metadata say {stated.rejected} rows, its body has {len(letters.entry.rows)}"
            findings.append(Finding("broken", text, letters.entry.key))
    return findings


def _is_broken(reading: Reading) -> bool:
    return any(finding.kind == "broken" for finding in reading.findings)


def _misfiled(key: str, name: ObjectKey, first_time: int) -> list[Finding]:
    at = instant(first_time)
    if at == name.time:
        return []
    text = f"its name says {name.time:%Y-%m-%d %H:%M:%S}, its first record is of {at:%Y-%m-%d %H:%M:%S}"
    return [Finding("misfiled", text, key, name.partition, name.first_offset, name.first_offset)]


def _contradictions(
    entry: DataObject, stated: ObjectMetadata, name: ObjectKey, letters: Reading | None
) -> list[Finding]:
    """Where the metadata of a data object contradict its name, its body, or its dead letters."""
    texts = []
    if (stated.partition, stated.first_offset) != (name.partition, name.first_offset):
        texts.append(f"its metadata say partition {stated.partition}, first offset {stated.first_offset}")
    if stated.records != entry.records:
        texts.append(f"its metadata say {stated.records} records, its body has {entry.records}")
    rows = letters.entry.rows if letters and isinstance(letters.entry, DeadLetterObject) else ()
    accounted = [*entry.ranges, *((row[0], row[1]) for row in rows)]
    if accounted:
        begin, last = min(part[0] for part in accounted), max(part[1] for part in accounted)
        complete = letters is not None or not stated.rejected
        if complete and (begin, last) != (stated.begin, stated.last_offset):
            texts.append(f"its metadata say offsets {stated.begin} to {stated.last_offset}, its rows {begin} to {last}")
    findings = [Finding("broken", text, entry.key, name.partition, stated.begin, stated.last_offset) for text in texts]
    if stated.rejected and letters is None:
        text = f"{entry.key} has {stated.rejected} rejected rows, and there is no such dead-letter object"
        findings.append(Finding("missing", text, "", name.partition, stated.begin, stated.last_offset))
    return findings
