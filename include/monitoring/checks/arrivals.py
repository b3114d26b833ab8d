"""Objects that arrived in S3 during the last hour, at a cost that grows with their number, not with the bucket.

A key contains the time of its batch's first record. So a listing can begin (StartAfter) at the
oldest record that was not landed an hour ago: the key of every object that arrived since is
greater, also while the consumer reads last week's records. LastModified selects among these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from include.landing.contract import Contract
from include.landing.layout import CONTRACT_NAME, Kind, parse_key, start_after
from include.settings import StorageSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HOUR = timedelta(hours=1)
MOST_KEPT = 200
"""Objects of a partition that are kept for a closer look: some hours of a slow topic, minutes of a fast one."""
CLOCK_SLACK = timedelta(minutes=2)
"""The clocks of the broker and of this machine may differ, and a key's time is cut to the second."""


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Objects of one partition: their number, and the lowest and the highest of their first offsets."""

    objects: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """One object that arrived at `at`; `size` in bytes."""

    key: str
    at: datetime
    size: int
    partition: int
    first_offset: int


@dataclass(slots=True)
class Arrivals:
    """Objects that arrived in a period: their number and stored bytes, a span by partition, and the newest ones.

    `kept` has each partition's last objects by offset, at most `MOST_KEPT`. `newest_at` is the last arrival of all.
    """

    objects: int = 0
    bytes: int = 0
    listed: int = 0
    spans: dict[int, Span] = field(default_factory=dict)
    newest_at: datetime | None = None
    kept: dict[int, deque[Arrived]] = field(default_factory=dict)

    def keep(self, item: Arrived) -> None:
        """Remember the object; a listing is in the order of time, so in the order of a partition's offsets."""
        self.newest_at = max(self.newest_at or item.at, item.at)
        self.kept.setdefault(item.partition, deque(maxlen=MOST_KEPT)).append(item)


def check_prefixes(s3: S3Client, storage: StorageSettings) -> None:
    """Refuse prefixes other than those of the contract object: a count of an empty prefix would be a false zero.

    Raises:
        ContractError: a prefix differs; the text names both values and the remedy.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    try:
        response = s3.get_object(Bucket=storage.bucket, Key=storage.data_prefix + CONTRACT_NAME)
    except s3.exceptions.NoSuchKey:  # nothing was landed yet
        return
    Contract.from_json(response["Body"].read()).check_prefixes(storage)


def listing_start(unread_since: Sequence[datetime], now: datetime) -> datetime:
    """Start of the listing: the oldest time of a record that was unread during the last hour, or the hour itself."""
    return min([*unread_since, now - HOUR]) - CLOCK_SLACK


def count(s3: S3Client, bucket: str, prefix: str, kind: Kind, begin: datetime, since: datetime) -> Arrivals:
    """Objects of `kind` under `prefix` whose key time is not before `begin` and that arrived after `since`.

    One LIST request for each 1,000 keys from `begin` on.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    arrivals = Arrivals()
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, StartAfter=start_after(prefix, kind, begin)
    )
    for page in pages:
        for item in page.get("Contents", ()):
            arrivals.listed += 1
            parts = parse_key(item["Key"])
            if parts is None or item["LastModified"] < since:
                continue
            arrivals.objects += 1
            arrivals.bytes += item["Size"]
            offset = parts.first_offset
            span = arrivals.spans.get(parts.partition, Span(0, offset, offset))
            arrivals.spans[parts.partition] = Span(span.objects + 1, min(span.first, offset), max(span.last, offset))
            arrivals.keep(Arrived(item["Key"], item["LastModified"], item["Size"], parts.partition, offset))
    return arrivals


def first_landed(s3: S3Client, bucket: str, prefix: str) -> datetime | None:
    """Time of the oldest landed batch's first record, None in an empty prefix. One LIST request.

    Names that begin with `_` sort after the years, so the first key is a batch.
    """
    response = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=10)
    times = [parts.time for item in response.get("Contents", ()) if (parts := parse_key(item["Key"]))]
    return min(times, default=None)


def mean_batch(spans: Mapping[int, Span], committed: Mapping[int, int | None]) -> float | None:
    """Mean number of offsets in an object. An object ends before the next object, the last object before the commit.

    Objects of a partition follow each other without a hole, so the span and the commit are enough.
    The last object is left out when no commit is after it. None when no object is left to count.
    """
    objects = offsets = 0
    for partition, span in spans.items():
        end = max(committed.get(partition) or 0, span.last)
        objects += span.objects - (end == span.last)
        offsets += end - span.first
    return offsets / objects if objects else None
