"""Is there anything in S3 that bronze has not been offered yet?

The gate remembers the newest key it saw in each partition. A partition's keys grow with
its offsets, so a key above the remembered one is new data. It looks above the newest key
of all partitions first, which answers at once while quotes flow; only when nothing is
there does it list from the slowest partition's newest key on. What it saw is stored
after bronze has succeeded, so a failed run is offered the same data again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.landing.layout import parse_key
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STATE = "transform.json"

Seen = dict[int, str]
"""Partition -> newest key seen."""


def advance(seen: Seen, keys: list[str]) -> Seen:
    """`seen` with the newest of `keys` in each partition; keys that are not landed data are passed over."""
    newest = dict(seen)
    for key in keys:
        parsed = parse_key(key)
        if parsed is not None:
            newest[parsed.partition] = max(newest.get(parsed.partition, ""), key)
    return newest


def read_seen(s3: S3Client, storage: StorageSettings) -> Seen:
    """What the last successful bronze was offered; empty before the first."""
    remedy = "delete it, and bronze is offered every file again"
    stored = json_object.read(s3, storage.bucket, storage.state_prefix + STATE, dict[str, Seen], remedy)
    return stored[0]["seen"] if stored else {}


def write_seen(s3: S3Client, storage: StorageSettings, seen: Seen) -> None:
    """Remember what bronze was offered and took."""
    json_object.write(s3, storage.bucket, storage.state_prefix + STATE, {"seen": seen})


def look(s3: S3Client, storage: StorageSettings) -> tuple[bool, Seen]:
    """Whether something new has landed, and what has been seen now."""
    seen = read_seen(s3, storage)
    now = seen
    starts = [max(seen.values()), min(seen.values())] if seen else [storage.data_prefix]
    for start in dict.fromkeys(starts):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=storage.bucket, Prefix=storage.data_prefix, StartAfter=start
        )
        for page in pages:
            now = advance(now, [item["Key"] for item in page.get("Contents", [])])
        if now != seen:
            return True, now
    return False, seen
