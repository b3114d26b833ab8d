"""What arrived in S3 during the last hour, at a cost that grows with the hour and not with the bucket.

A key carries the time of its batch's first record, so a listing can begin (StartAfter) at
the oldest record that was not landed an hour ago: everything that arrived since is behind
it, also when the consumer is catching up on last week. Among what is listed, LastModified
decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from include.landing.layout import Kind, parse_key, start_after

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HOUR = timedelta(hours=1)
CLOCK_SLACK = timedelta(minutes=2)
"""Broker's and our clocks may differ, and a key's time is cut to the second."""


@dataclass(slots=True)
class Arrivals:
    """Objects that arrived in a period: how many, their stored bytes, first offsets by partition (ascending)."""

    objects: int = 0
    bytes: int = 0
    listed: int = 0
    first_offsets: dict[int, list[int]] = field(default_factory=dict)


def listing_start(unread_since: Sequence[datetime], now: datetime) -> datetime:
    """Where to begin: the oldest of the record times that were unread in the last hour's looks, or the hour itself."""
    return min([*unread_since, now - HOUR]) - CLOCK_SLACK


def arrivals(s3: S3Client, bucket: str, prefix: str, kind: Kind, begin: datetime, since: datetime) -> Arrivals:
    """Objects of `kind` under `prefix` whose key time is not before `begin` and that arrived after `since`.

    One LIST request for each 1,000 keys from `begin` on.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    found = Arrivals()
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, StartAfter=start_after(prefix, kind, begin)
    )
    for page in pages:
        for item in page.get("Contents", ()):
            found.listed += 1
            parts = parse_key(item["Key"])
            if parts is None or item["LastModified"] < since:
                continue
            found.objects += 1
            found.bytes += item["Size"]
            found.first_offsets.setdefault(parts.partition, []).append(parts.first_offset)
    for offsets in found.first_offsets.values():
        offsets.sort()
    return found


def first_landed(s3: S3Client, bucket: str, prefix: str) -> datetime | None:
    """Time of the oldest landed batch's first record, None in an empty prefix. One LIST request.

    Names that begin with `_` sort behind the years, so the first key is a batch.
    """
    answer = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=10)
    times = [parts.time for item in answer.get("Contents", ()) if (parts := parse_key(item["Key"]))]
    return min(times, default=None)


def mean_batch(first_offsets: Mapping[int, Sequence[int]], committed: Mapping[int, int | None]) -> float | None:
    """Mean offsets an object: from each object's first offset to the next object's, the last one's to the commit.

    Objects of a partition follow each other without a hole, so their sizes need not be
    read. None when there is nothing to count. A last object without a commit behind it is
    left out.
    """
    objects = offsets = 0
    for partition, firsts in first_offsets.items():
        if not firsts:
            continue
        end = committed.get(partition)
        ends = [*firsts[1:], end] if end is not None and end > firsts[-1] else firsts[1:]
        objects += len(ends)
        offsets += ends[-1] - firsts[0] if ends else 0
    return offsets / objects if objects else None
