"""Reads the arrival times of quotes from the newest landed objects, and keeps what is known in `state/coins.json`."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from include.landing.codec import CODECS
from include.landing.layout import instant, parse_key
from include.monitoring.checks.arrivals import Arrived
from include.monitoring.checks.coins import Watched
from include.reasons import reason_of
from include.settings import StorageSettings
from include.state import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

MOST_OBJECTS = 24
"""GETs in one run of the monitor over all partitions: the last eight minutes of three partitions with a batch a minute.
At twelve runs an hour and 0.0004 dollars for 1,000 GETs this costs less than ten cents a month."""
MOST_BYTES = 2 * 2**20
"""A larger object is not read: it holds more quotes than are needed to see that a coin is not silent."""


def read(s3: S3Client, bucket: str, arrived: Mapping[int, Sequence[Arrived]]) -> dict[str, list[datetime]]:
    """Arrival times in Kafka by the coin's symbol, from each partition's newest objects.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    share = max(MOST_OBJECTS // len(arrived), 1) if arrived else 0
    times: defaultdict[str, list[datetime]] = defaultdict(list)
    begins = []
    for items in arrived.values():
        newest = [item for item in list(items)[-share:] if item.size <= MOST_BYTES]
        rows = [row for item in newest for row in _rows(s3, bucket, item.key)]
        if len(items) > share and rows:
            begins.append(min(at for _, at in rows))
        for symbol, at in rows:
            times[symbol].append(at)
    # Before this time another partition's quotes were not read, so distances would be too long.
    begin = max(begins, default=None)
    return {symbol: _from(found, begin) for symbol, found in times.items()}


def _from(times: Iterable[datetime], begin: datetime | None) -> list[datetime]:
    """The times from `begin` on; the newest one in any case."""
    found = sorted(times)
    return [at for at in found if begin is None or at >= begin] or found[-1:]


def _rows(s3: S3Client, bucket: str, key: str) -> list[tuple[str, datetime]]:
    parts = parse_key(key)
    assert parts is not None  # only such objects are counted as arrived
    try:
        rows = CODECS[parts.suffix].decode(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return [(str(row["symbol"]).strip().upper(), instant(int(row["_timestamp"]))) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        log.warning("the object %s is not readable, so its quotes are not seen: %s", key, error)
        return []


def key(storage: StorageSettings) -> str:
    """Key of the object with what is known about each coin."""
    return f"{storage.state_prefix}coins.json"


def known(s3: S3Client, storage: StorageSettings) -> dict[str, Watched]:
    """The knowledge about each coin; empty before the first look, and when it is broken.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    remedy = "the next run of the monitor starts it again"
    try:
        stored = json_object.read(s3, storage.bucket, key(storage), dict[str, Watched], remedy)
    except json_object.StateUnreadableError as error:
        log.warning("what is known about the coins is broken and begins again: %s", error)
        return {}
    return stored[0] if stored else {}


def keep(s3: S3Client, storage: StorageSettings, watched: Mapping[str, Watched]) -> None:
    """Write what is known; S3's refusal is only logged, since reading has worked."""
    try:
        json_object.write(s3, storage.bucket, key(storage), watched)
    except (ClientError, BotoCoreError) as error:
        log.warning("what is known about the coins was not written: %s", reason_of(error))
