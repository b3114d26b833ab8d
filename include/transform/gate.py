"""Finds landed files that bronze has not been offered, and the hours in which they lie.

A key begins with the UTC day and hour of Kafka's time. Landed objects are only created, so the number of keys of an
hour grows with each new file, whatever its partition, its offset, the order of landing, or a broker's clock. An hour is
offered to bronze while its number differs from the number at the last success. The numbers that are stored after a
success were counted before bronze read anything. So a file that lands later is counted as new again.

A look counts every day in which a record can still land. If that is more than FEW objects, it counts the recent hours,
and every day only if these have nothing new, if a partition is new, or at the first look of an hour.
docs/data-quality.md has the argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import msgspec
import yaml

from include.instants import Instant
from include.landing.layout import Kind, ObjectKey, parse_key
from include.settings import DBT_PROJECT, StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STATE = "transform.json"
HOURS = "transform_hours.json"

FEW = 50_000
"""Landed objects that each look counts. S3 lists 1,000 with one request, so that is 50 requests."""
MOST_RANGES = 50
"""Maximum number of ranges of hours in an offer. The SQL that names them stays small; more are joined into one."""
REMEDY = "delete it, and the next run considers every file again"

Seen = dict[int, str]
"""Partition -> key of the newest offset that was seen."""
Counts = dict[str, int]
"""Hour (`crypto_data/2026/11/23/20`) -> number of landed objects."""


class Offered(msgspec.Struct, frozen=True):
    """What bronze was last offered: the counts then, the first hour with new files, the hour of the last full count.

    `started_at` is the start of the run that offered it; None in the state of a version that stored no starts.
    """

    counts: Counts = msgspec.field(default_factory=dict)
    first: str = ""
    all_counted_in: str = ""
    started_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """The result of a look. `hours` (`2026/11/23/20`) have unread files. Store `seen` and `offered` on success."""

    is_new: bool
    seen: Seen
    hours: list[str]
    offered: Offered


def hour_of(key: ObjectKey) -> str:
    """The hour of a key, as in its path."""
    return f"{key.time:%Y/%m/%d/%H}"


def advance(seen: Seen, keys: Iterable[str]) -> Seen:
    """`seen` with the key of the newest offset in each partition. Keys that are not landed data are ignored."""
    newest = dict(seen)
    for key in keys:
        parsed = parse_key(key)
        if parsed is None or parsed.kind != "crypto_data":
            continue
        known = parse_key(newest.get(parsed.partition, ""))
        if known is None or known.first_offset < parsed.first_offset:
            newest[parsed.partition] = key
    return newest


def read_seen(s3: S3Client, storage: StorageSettings) -> Seen:
    """The newest keys at the start of the last successful run of bronze; empty before the first run."""
    stored = json_object.read(s3, storage.bucket, storage.state_prefix + STATE, dict[str, Seen], REMEDY)
    return stored[0]["seen"] if stored else {}


def read_offered(s3: S3Client, storage: StorageSettings) -> Offered | None:
    """The counts of the last successful run; None before it, and after an upgrade from a version without counts."""
    stored = json_object.read(s3, storage.bucket, storage.state_prefix + HOURS, Offered, REMEDY)
    return stored[0] if stored else None


def write_seen(s3: S3Client, storage: StorageSettings, seen: Seen) -> None:
    """Store the newest keys after bronze has loaded them."""
    json_object.write(s3, storage.bucket, storage.state_prefix + STATE, {"seen": seen})


def write_offered(s3: S3Client, storage: StorageSettings, offered: Offered) -> None:
    """Store the counts after bronze has loaded everything that was offered."""
    json_object.write(s3, storage.bucket, storage.state_prefix + HOURS, offered)


def look(s3: S3Client, storage: StorageSettings, now: datetime) -> Look:
    """Compare the landed objects with those that bronze was offered before its last success. `now` is UTC."""
    seen, stored = read_seen(s3, storage), read_offered(s3, storage)
    earlier = stored or Offered()
    reach, this_hour = _reach(), f"{now:%Y/%m/%d/%H}"
    recent = min(f"{now - reach.recent:%Y/%m/%d/%H}", earlier.first or this_hour)
    all_of_it = sum(earlier.counts.values()) <= FEW or earlier.all_counted_in != this_hour
    if not all_of_it:
        counts, newest = _count(s3, storage, recent, now, seen)
        all_of_it = not _changed(counts, earlier.counts) or newest.keys() != seen.keys()
    if all_of_it:
        counts, newest = _count(s3, storage, _first_day(seen, now, reach.all), now, seen)
    else:
        counts = {hour: number for hour, number in earlier.counts.items() if _time(hour) < recent} | counts
    hours = _changed(counts, earlier.counts)
    offered = Offered(counts, min(hours, default=""), this_hour if all_of_it else earlier.all_counted_in)
    # Without counts (after an upgrade) only new offsets open the gate. The run behind them is offered every hour.
    return Look(bool(hours) if stored else newest != seen, newest, hours, offered)


def _time(hour: str) -> str:
    """The last parts of an hour's name: `2026/11/23/20`."""
    return "/".join(hour.rsplit("/", 4)[1:])


def _changed(counts: Counts, earlier: Counts) -> list[str]:
    """The hours whose number differs, in order."""
    return sorted({_time(hour) for hour, number in counts.items() if earlier.get(hour) != number})


def ranges(hours: list[str]) -> str:
    """Hours in order, as text for bronze: `2026/11/23/20..2026/11/23/22`, separated by blanks, at most MOST_RANGES.

    The text may name more hours than `hours`: bronze leaves out the files that it has.
    """
    joined: list[tuple[str, str]] = []
    for hour in hours:
        if joined and _next(joined[-1][1]) == hour:
            joined[-1] = (joined[-1][0], hour)
        else:
            joined.append((hour, hour))
    if len(joined) > MOST_RANGES:
        joined = [(hours[0], hours[-1])]
    return " ".join(f"{first}..{last}" for first, last in joined)


def _next(hour: str) -> str:
    return f"{datetime.strptime(hour + ' +0000', '%Y/%m/%d/%H %z') + timedelta(hours=1):%Y/%m/%d/%H}"


@dataclass(frozen=True, slots=True)
class _Reach:
    """How far back a look counts: each time, and when it counts all."""

    recent: timedelta
    all: timedelta


@cache
def _reach() -> _Reach:
    """Bronze looks as far back, so the values are variables of the dbt project."""
    variables = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text())["vars"]
    recent = timedelta(hours=variables["landing_lookback_hours"])
    return _Reach(recent, timedelta(days=variables["landing_sweep_days"]))


def _first_day(seen: Seen, now: datetime, reach: timedelta) -> str:
    """The first day in which a record can still land, as in a path; "" before the first run.

    After a long silence it counts back from the newest key instead of from now.
    """
    times = [parsed.time for parsed in map(parse_key, seen.values()) if parsed]
    return f"{min(max(times), now) - reach:%Y/%m/%d}" if times else ""


def _count(s3: S3Client, storage: StorageSettings, start: str, now: datetime, seen: Seen) -> tuple[Counts, Seen]:
    """The number of objects of each hour from `start` (a path of day and hour) on, and the newest keys.

    Days after tomorrow (a broker's clock) are left out: Athena's tables do not show them yet. They count when they do.
    """
    counts: Counter[str] = Counter()
    newest, last = seen, f"{now + timedelta(days=1):%Y/%m/%d/24}"
    prefixes: dict[Kind, str] = {"crypto_data": storage.data_prefix, "dead_letter": storage.dead_letter_prefix}
    for kind, prefix in prefixes.items():
        for keys in _pages(s3, storage.bucket, prefix, _start_after(prefix, kind, start)):
            newest = advance(newest, keys)
            hours = [hour_of(entry) for entry in map(parse_key, keys) if entry and entry.kind == kind]
            counts.update(prefix + hour for hour in hours if hour < last)
    return dict(counts), newest


def _start_after(prefix: str, kind: Kind, start: str) -> str:
    day, hour = start[:10], start[11:]
    return f"{prefix}{day}/{kind}_{hour}" if hour else prefix + day


def _pages(s3: S3Client, bucket: str, prefix: str, start_after: str) -> Iterator[list[str]]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, StartAfter=start_after)
    return ([item["Key"] for item in page.get("Contents", [])] for page in pages)
