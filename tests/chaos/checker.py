"""The checker: reads S3 alone and compares it with what Kafka acknowledged.

It shares no code with the consumer but the documented layout: names and bodies are taken
apart here anew, so that a mistake there is not repeated. Forbidden are: an acknowledged
message that is lost, doubled, in the wrong place or changed; a range that is not
contiguous; a wrong day folder; a body that is not a JSON array; a missing dead letter.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_KEY = re.compile(r"^(crypto_data|dead_letter)/(\d{4}/\d\d/\d\d)/\1_(\d\d-\d\d-\d\d)_p(\d{5})_o(\d{20})\.json(\.gz)?$")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A message that Kafka acknowledged: where it is, its time (ms), its value, and whether it is a valid quote."""

    partition: int
    offset: int
    timestamp: int
    value: bytes | None
    valid: bool
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(slots=True)
class Verdict:
    """What was found. `errors` is empty when every promise holds."""

    messages: int = 0
    landed: int = 0
    dead: int = 0
    objects: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    kind: str
    at: str
    first: int
    last: int
    rejected: int
    rows: list[dict[str, Any]]


def check(s3: Any, bucket: str, acknowledged: list[Acknowledged]) -> Verdict:
    """Read the whole bucket (a boto3 client) and judge."""
    verdict = Verdict(messages=len(acknowledged))
    objects: dict[tuple[str, int], list[_Object]] = defaultdict(list)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            if entry["Key"] == "crypto_data/_contract.json":
                continue
            found = _read(s3, bucket, entry["Key"], verdict)
            if found is not None:
                objects[found[0]].append(found[1])
                verdict.objects += 1
    seen: Counter[tuple[int, int]] = Counter()
    values: dict[tuple[int, int], Any] = {}
    for (kind, partition), chain in objects.items():
        chain.sort(key=lambda one: one.first)
        for one in chain:
            for row in one.rows:
                at = (partition, int(row["_offset"]))
                seen[at] += 1
                values[at] = (kind, row)
    for partition in sorted({number for _, number in objects}):
        _contiguous(partition, objects[("crypto_data", partition)], objects[("dead_letter", partition)], verdict)
    _compare(acknowledged, seen, values, verdict)
    return verdict


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
    found = _Object(
        key, kind, f"{day} {time}", int(meta["first-offset"]), int(meta["last-offset"]), int(meta["rejected"]), rows
    )
    if found.first != first or int(meta["partition"]) != partition:
        verdict.errors.append(f"{key}: metadata {meta} contradict the name")
    if any(int(row["_partition"]) != partition for row in rows):
        verdict.errors.append(f"{key}: a row of another partition")
    if kind == "crypto_data" and len(rows) != int(meta["records"]):
        verdict.errors.append(f"{key}: {len(rows)} rows, metadata say {meta['records']}")
    return (kind, partition), found


def _contiguous(partition: int, chain: list[_Object], letters: list[_Object], verdict: Verdict) -> None:
    by_first = {one.first: one for one in letters}
    expected = 0
    for one in chain:
        if one.first != expected:
            verdict.errors.append(f"partition {partition}: {one.key} begins at {one.first}, expected {expected}")
        expected = one.last + 1
        letter = by_first.pop(one.first, None)
        rejected = 0 if letter is None else len(letter.rows)
        if rejected != one.rejected or (letter is not None and letter.last != one.last):
            verdict.errors.append(f"{one.key}: {one.rejected} rejected, its dead-letter object holds {rejected}")
        times = {int(row["_offset"]): int(row["_timestamp"]) for row in (*one.rows, *(letter.rows if letter else []))}
        if sorted(times) != list(range(one.first, one.last + 1)):
            verdict.errors.append(f"{one.key}: offsets of data and dead letters are not {one.first} to {one.last}")
        at = datetime.fromtimestamp(times.get(one.first, 0) // 1000, UTC)
        for place in (one, letter):
            if place is not None and place.at != f"{at:%Y/%m/%d %H-%M-%S}":
                verdict.errors.append(f"{place.key}: its first record is of {at}")
    verdict.errors += [f"{one.key}: a dead-letter object without a data object" for one in by_first.values()]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _changed(row: dict[str, Any], message: Acknowledged) -> list[str]:
    """What of a rejected message is not as it was sent."""
    headers = tuple((name, _bytes(value)) for name, value in row["headers"])
    found = {
        "another payload": _bytes(row["payload"]) == message.value,
        "another key": _bytes(row["key"]) == message.key,
        "other headers": headers == message.headers,
    }
    return [what for what, same in found.items() if not same]


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
        if (kind == "crypto_data") != message.valid:
            verdict.errors.append(f"{at}: {'valid' if message.valid else 'not valid'}, landed under {kind}")
        elif kind == "crypto_data":
            verdict.landed += 1
            own = {name: value for name, value in row.items() if not name.startswith("_")}
            if own != json.loads(message.value or b""):
                verdict.errors.append(f"{at}: changed: {row}")
        else:
            verdict.dead += 1
            verdict.errors += [f"{at}: dead letter with {what}" for what in _changed(row, message)]
    doubled = [at for at, count in seen.items() if count > 1]
    if doubled:
        verdict.errors.append(f"landed more than once: {doubled[:10]} ({len(doubled)} in all)")
