"""Whether a run of the transform has a reason to start: the starts that S3 keeps, and a cheap look for new files."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from include.landing.layout import parse_key, start_after
from include.settings import StorageSettings
from include.state import json_object
from include.transform import gate
from include.transform.gate import Counts, Offered, Seen
from include.transform.start_rule import Start, StartRule, Starts, with_start

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STARTS = "transform_starts.json"
PAGE = 1_000
"""Keys in one answer of S3 to a LIST."""

log = logging.getLogger(__name__)


def read_starts(s3: S3Client, storage: StorageSettings) -> Starts:
    """The starts of the last two days; empty before the first run.

    An unreadable object is replaced by the next run. Until then floor and ceiling are not known, which is logged.
    """
    key = storage.state_prefix + STARTS
    try:
        stored = json_object.read(s3, storage.bucket, key, Starts, "the next run replaces it")
    except json_object.StateUnreadableError as error:
        log.warning("%s", error)
        return {}
    return stored[0] if stored else {}


def write_start(s3: S3Client, storage: StorageSettings, run_id: str, start: Start) -> None:
    """Add the start of a run. Nobody else writes, because only one run is active at a time."""
    known = with_start(read_starts(s3, storage), run_id, start)
    json_object.write(s3, storage.bucket, storage.state_prefix + STARTS, known)


def has_cause(s3: S3Client, storage: StorageSettings, rule: StartRule, known: Starts, now: datetime) -> bool | None:
    """Whether a run may start, and a file is unread. `now` is UTC.

    None: a run may start, and the newest hours have nothing unread. Only `gate.look` sees the older hours and the dead
    letters.

    Raises:
        StateUnreadableError: what bronze was offered is unreadable.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    offered = gate.read_offered(s3, storage)
    if rule.not_before(known, offered.started_at if offered else None, now) > now:
        return False
    if offered is None:
        return gate.look(s3, storage, now).is_new
    return tail_is_unread(s3, storage, gate.read_seen(s3, storage), offered, now) or None


def tail_is_unread(s3: S3Client, storage: StorageSettings, seen: Seen, offered: Offered, now: datetime) -> bool:
    """Whether the newest hours have a data file that bronze was not offered. Costs one LIST.

    The page begins with the oldest hour from which on bronze was offered fewer files than a page has. So a full page
    has a new one. As in `gate.look`, days after tomorrow are left out.
    """
    last = f"{storage.data_prefix}{now + timedelta(days=1):%Y/%m/%d/24}"
    after = _tail(storage.data_prefix, seen, offered.counts, last)
    listed = s3.list_objects_v2(Bucket=storage.bucket, Prefix=storage.data_prefix, StartAfter=after)
    keys = [item["Key"] for item in listed.get("Contents", []) if item["Key"] < last]
    if after in seen.values():  # a part of an hour has no count
        return gate.advance(seen, keys) != seen
    found = [entry for entry in map(parse_key, keys) if entry and entry.kind == "crypto_data"]
    counts = Counter(storage.data_prefix + gate.hour_of(entry) for entry in found)
    return any(number > offered.counts.get(hour, 0) for hour, number in counts.items())


def _tail(prefix: str, seen: Seen, counts: Counts, last: str) -> str:
    """The StartAfter of the tail: an hour, or the newest key if the newest hour alone fills a page."""
    total, first = 0, ""
    for hour in sorted((hour for hour in counts if hour.startswith(prefix) and hour < last), reverse=True):
        total += counts[hour]
        if total >= PAGE:
            newest = max((key for key in seen.values() if key < last), default="")
            return _start_of(prefix, first) if first else newest or _start_of(prefix, hour)
        first = hour
    return _start_of(prefix, first) if first else prefix


def _start_of(prefix: str, hour: str) -> str:
    moment = datetime.strptime(hour.removeprefix(prefix), "%Y/%m/%d/%H").replace(tzinfo=UTC)
    return start_after(prefix, "crypto_data", moment)
