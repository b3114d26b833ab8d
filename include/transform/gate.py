"""Checks whether new data has landed in S3 since the last successful run of bronze.

The gate remembers the newest key of each partition. A partition's keys grow with its offsets, so a greater key is new
data. The gate first lists from the newest key of all partitions, which finds new data at once while quotes arrive. Only
when that listing is empty, it lists from the newest key of the slowest partition. The keys are stored after bronze has
succeeded, so after a failed run the same data is new again.
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
"""Partition -> newest key that was seen."""


def advance(seen: Seen, keys: list[str]) -> Seen:
    """`seen` with the newest of `keys` in each partition. Keys that are not landed data are ignored."""
    newest = dict(seen)
    for key in keys:
        parsed = parse_key(key)
        if parsed is not None:
            newest[parsed.partition] = max(newest.get(parsed.partition, ""), key)
    return newest


def read_seen(s3: S3Client, storage: StorageSettings) -> Seen:
    """The newest keys at the start of the last successful run of bronze; empty before the first run."""
    remedy = "delete it, and the next run considers every file again"
    stored = json_object.read(s3, storage.bucket, storage.state_prefix + STATE, dict[str, Seen], remedy)
    return stored[0]["seen"] if stored else {}


def write_seen(s3: S3Client, storage: StorageSettings, seen: Seen) -> None:
    """Store the newest keys after bronze has loaded them."""
    json_object.write(s3, storage.bucket, storage.state_prefix + STATE, {"seen": seen})


def check(s3: S3Client, storage: StorageSettings) -> tuple[bool, Seen]:
    """Whether new data has landed, and the newest keys now."""
    seen = read_seen(s3, storage)
    newest = seen
    starts = [max(seen.values()), min(seen.values())] if seen else [storage.data_prefix]
    for start in dict.fromkeys(starts):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=storage.bucket, Prefix=storage.data_prefix, StartAfter=start
        )
        for page in pages:
            newest = advance(newest, [item["Key"] for item in page.get("Contents", [])])
        if newest != seen:
            return True, newest
    return False, seen
