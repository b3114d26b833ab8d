"""The checker reads S3 and compares it with the messages that Kafka acknowledged.

It shares no code with the consumer, only the documented layout. It parses names and bodies by itself, so that it does
not repeat a mistake of the consumer. It reports an acknowledged message that is lost, doubled, changed or in the wrong
place, a gap between two ranges, a wrong day folder, a body that is not a JSON array, and a missing dead letter. It
also reports a record that no consumer may see (of an aborted transaction) and landed nevertheless, and a hole in the
log that no landed record names.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LAST_TIME = 253_402_300_799_999
"""The end of the year 9999 in ms: the greatest time that a name can show."""
_KEY = re.compile(r"^(crypto_data|dead_letter)/(\d{4}/\d\d/\d\d)/\1_(\d\d-\d\d-\d\d)_p(\d{5})_o(\d{20})\.json(\.gz)?$")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A message that Kafka acknowledged: its place, its time (ms), its content, and whether it is a valid quote.

    `valid` is None if the sender does not know. `headers` is None if the consumer's client cannot return them.
    """

    partition: int
    offset: int
    timestamp: int
    value: bytes | None
    valid: bool | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] | None = ()


@dataclass(slots=True)
class Verdict:
    """The result of a check. `errors` is empty when every promise holds.

    `places` has the kind and the key of each offset: where its message is, or a row that names the hole (`hole`).
    """

    messages: int = 0
    landed: int = 0
    dead: int = 0
    objects: int = 0
    errors: list[str] = field(default_factory=list)
    places: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    kind: str
    at: str
    first: int
    last: int
    rejected: int
    rows: list[dict[str, Any]]
    begin: int


Place = tuple[int, int]
"""Partition and offset."""
_COORDINATES = frozenset({"_topic", "_partition", "_offset", "_timestamp", "_hole"})


def check(s3: Any, bucket: str, acknowledged: list[Acknowledged], holes: frozenset[Place] = frozenset()) -> Verdict:
    """Read the whole bucket with a boto3 client and compare it with the acknowledged messages.

    `holes` are the offsets at which Kafka has no committed record: markers, and records of aborted transactions.
    """
    verdict = Verdict(messages=len(acknowledged))
    objects: dict[tuple[str, int], list[_Object]] = defaultdict(list)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            if entry["Key"] == "crypto_data/_contract.json":
                continue
            parsed = _read(s3, bucket, entry["Key"], verdict)
            if parsed is not None:
                objects[parsed[0]].append(parsed[1])
                verdict.objects += 1
    verdict.places = {
        place: found
        for (kind, partition), chain in objects.items()
        for item in chain
        for row in item.rows
        for place, found in _placed(kind, partition, item.key, row)
    }
    seen, values = _rows(objects, holes, verdict)
    for partition in sorted({number for _, number in objects}):
        absent = frozenset(offset for number, offset in holes if number == partition)
        chains = objects[("crypto_data", partition)], objects[("dead_letter", partition)]
        _contiguous(partition, *chains, absent, verdict)
    _compare(acknowledged, seen, values, verdict)
    return verdict


def _rows(
    objects: dict[tuple[str, int], list[_Object]], holes: frozenset[Place], verdict: Verdict
) -> tuple[Counter[Place], dict[Place, Any]]:
    """How often each message is landed, and its kind and row."""
    seen: Counter[Place] = Counter()
    values: dict[Place, Any] = {}
    for (kind, partition), chain in objects.items():
        chain.sort(key=lambda item: item.first)
        for row in (row for item in chain for row in item.rows if row.get("error_class") != "gap"):
            at = (partition, int(row["_offset"]))
            seen[at] += 1
            values[at] = (kind, row)
            if at in holes:
                verdict.errors.append(f"{at}: landed, but Kafka has no committed record there")
    return seen, values


def _read(s3: Any, bucket: str, key: str, verdict: Verdict) -> tuple[tuple[str, int], _Object] | None:
    name = _KEY.match(key)
    if name is None:
        verdict.errors.append(f"{key}: a name outside the layout")
        return None
    kind, day, time, partition, first = name[1], name[2], name[3], int(name[4]), int(name[5])
    answer = s3.get_object(Bucket=bucket, Key=key)
    try:
        body = answer["Body"].read()
        rows = json.loads(gzip.decompress(body) if name[6] else body)
    except (ValueError, OSError) as error:
        verdict.errors.append(f"{key}: no JSON: {error}")
        return None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        verdict.errors.append(f"{key}: no JSON array of objects")
        return None
    meta = answer["Metadata"]
    parsed = _Object(
        key, kind, f"{day} {time}", int(meta["first-offset"]), int(meta["last-offset"]), int(meta["rejected"]), rows,
        int(meta.get("begin-offset", meta["first-offset"])),
    )  # fmt: skip
    if parsed.first != first or int(meta["partition"]) != partition:
        verdict.errors.append(f"{key}: metadata {meta} contradict the name")
    if any(int(row["_partition"]) != partition for row in rows):
        verdict.errors.append(f"{key}: a row of another partition")
    if kind == "crypto_data" and len(rows) != int(meta["records"]):
        verdict.errors.append(f"{key}: {len(rows)} rows, metadata say {meta['records']}")
    return (kind, partition), parsed


def _contiguous(
    partition: int, chain: list[_Object], dead_letters: list[_Object], holes: frozenset[int], verdict: Verdict
) -> None:
    by_first = {item.first: item for item in dead_letters}
    expected = 0
    for item in chain:
        before = set(range(expected, item.first))
        if item.first < expected or before - holes:
            verdict.errors.append(f"partition {partition}: {item.key} begins at {item.first}, expected {expected}")
        elif item.begin != expected:
            verdict.errors.append(f"partition {partition}: {item.key} counts from {item.begin}, expected {expected}")
        expected = item.last + 1
        letters = by_first.pop(item.first, None)
        rejected = 0 if letters is None else len(letters.rows)
        if rejected != item.rejected or (letters is not None and letters.last != item.last):
            verdict.errors.append(f"{item.key}: {item.rejected} rejected, its dead-letter object holds {rejected}")
        rows = [*item.rows, *(letters.rows if letters else [])]
        named = {offset for row in rows for offset in _hole_of(row)}
        if named != {offset for offset in range(item.begin, item.last + 1) if offset in holes}:
            verdict.errors.append(f"{item.key}: names the holes {sorted(named)[:20]}")
        times = {int(row["_offset"]): int(row["_timestamp"]) for row in rows if row.get("error_class") != "gap"}
        if sorted(times) != [offset for offset in range(item.first, item.last + 1) if offset not in holes]:
            verdict.errors.append(f"{item.key}: offsets of data and dead letters are not {item.first} to {item.last}")
        at = datetime.fromtimestamp(min(max(times.get(item.first, 0), 0), LAST_TIME) // 1000, UTC)
        for place in (item, letters):
            if place is not None and place.at != f"{at:%Y/%m/%d %H-%M-%S}":
                verdict.errors.append(f"{place.key}: its first record is of {at}")
    verdict.errors += [f"{item.key}: a dead-letter object without a data object" for item in by_first.values()]


def _hole_of(row: dict[str, Any]) -> range:
    """The offsets without a record that a row names."""
    offset = int(row["_offset"])
    if row.get("error_class") == "gap":
        return range(offset, int(row["last_offset"]) + 1)
    return range(offset - int(row.get("_hole", 0)), offset)


def _placed(kind: str, partition: int, key: str, row: dict[str, Any]) -> Iterator[tuple[Place, tuple[str, str]]]:
    """The offsets that a row stands for, with what is there."""
    if row.get("error_class") != "gap":
        yield (partition, int(row["_offset"])), (kind, key)
    for offset in _hole_of(row):
        yield (partition, offset), ("gap" if row.get("error_class") == "gap" else "hole", key)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _changed(row: dict[str, Any], message: Acknowledged) -> list[str]:
    """The parts of a rejected message that differ from what was sent."""
    headers = tuple((name, _bytes(value)) for name, value in row["headers"])
    same = {
        "another payload": _bytes(row["payload"]) == message.value,
        "another key": _bytes(row["key"]) == message.key,
        "other headers": message.headers is None or headers == message.headers,
    }
    return [fault for fault, is_same in same.items() if not is_same]


def _compare(
    acknowledged: list[Acknowledged],
    seen: Counter[tuple[int, int]],
    values: dict[tuple[int, int], Any],
    verdict: Verdict,
) -> None:
    for message in acknowledged:
        at = (message.partition, message.offset)
        if seen[at] != 1:
            verdict.errors.append(f"{at}: acknowledged, landed {seen[at]} times")
            continue
        kind, row = values[at]
        if int(row["_timestamp"]) != message.timestamp:
            verdict.errors.append(f"{at}: landed with time {row['_timestamp']}, Kafka has {message.timestamp}")
        if message.valid is not None and (kind == "crypto_data") != message.valid:
            verdict.errors.append(f"{at}: {'valid' if message.valid else 'not valid'}, landed under {kind}")
        elif kind == "crypto_data":
            verdict.landed += 1
            own = {name: value for name, value in row.items() if name not in _COORDINATES}
            if own != json.loads(message.value or b""):
                verdict.errors.append(f"{at}: changed: {row}")
        else:
            verdict.dead += 1
            verdict.errors += [f"{at}: dead letter with {fault}" for fault in _changed(row, message)]
    doubled = [at for at, count in seen.items() if count > 1]
    if doubled:
        verdict.errors.append(f"landed more than once: {doubled[:10]} ({len(doubled)} in all)")
