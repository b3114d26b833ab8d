"""Object keys: a pure function of where a batch begins in Kafka.

The key of a data file is

    crypto_data/2026/11/23/crypto_data_20-15-07_p00002_o00000000000000004200.json

Date and time are the Kafka timestamp (UTC) of the *first record of the batch*. Its partition and first offset follow.
The same batch therefore always gets the same key, so a create-only PUT is enough to land it once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, get_args

from include.landing.codec import Suffix

Kind = Literal["crypto_data", "dead_letter"]

CONTRACT_NAME = "_contract.json"
"""Name of the contract object in the data prefix; Hive and Athena skip names that begin with `_`."""

MAX_TIMESTAMP_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last instant with a four-digit year."""

_KEY = re.compile(
    r"(?P<y>\d{4})/(?P<m>\d\d)/(?P<d>\d\d)/(?P<kind>crypto_data|dead_letter)_(?P<H>\d\d)-(?P<M>\d\d)-(?P<S>\d\d)"
    rf"_p(?P<partition>\d{{5,}})_o(?P<offset>\d{{20}})(?P<suffix>{'|'.join(map(re.escape, get_args(Suffix)))})$"
)


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """The parts of a key. `time` is the Kafka timestamp of the batch's first record, to the second, UTC."""

    kind: Kind
    time: datetime
    partition: int
    first_offset: int
    suffix: Suffix


def instant(timestamp_ms: int) -> datetime:
    """A Kafka timestamp as UTC time, clamped to the years 1970 to 9999 (not to now: keys must not depend on now)."""
    return datetime.fromtimestamp(min(max(timestamp_ms, 0), MAX_TIMESTAMP_MS) // 1000, UTC)


def object_key(
    prefix: str, kind: Kind, partition: int, first_offset: int, timestamp_ms: int, suffix: Suffix = ".json"
) -> str:
    """Key of the batch that begins at `first_offset` of `partition`.

    `prefix` ends with a slash; `timestamp_ms` is the Kafka timestamp of the batch's first record, in milliseconds since
    1970.
    """
    return f"{prefix}{_stem(kind, timestamp_ms // 1000)}_p{partition:05d}_o{first_offset:020d}{suffix}"


@lru_cache(maxsize=64)
def _stem(kind: Kind, second: int) -> str:
    """The part that all keys of one second share. It is cached, because at a high rate a second has many keys."""
    return f"{instant(second * 1000):%Y/%m/%d/{kind}_%H-%M-%S}"


def parse_key(key: str) -> ObjectKey | None:
    """The parts of a key under any prefix, None if the name is not of this contract."""
    match = _KEY.search(key)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.group("y", "m", "d", "H", "M", "S"))
    return ObjectKey(
        kind=match["kind"],  # type: ignore[arg-type]
        time=datetime(year, month, day, hour, minute, second, tzinfo=UTC),
        partition=int(match["partition"]),
        first_offset=int(match["offset"]),
        suffix=match["suffix"],  # type: ignore[arg-type]
    )


def partition_of(key: str) -> int | None:
    """The partition in a key, as `parse_key` reads it, in a third of the time."""
    match = _KEY.search(key)
    return None if match is None else int(match["partition"])


def start_after(prefix: str, kind: Kind, since: datetime) -> str:
    """A StartAfter value that skips every key of `kind` whose time is before `since`."""
    moment = since.astimezone(UTC)
    return f"{prefix}{moment:%Y/%m/%d}/{kind}_{moment:%H-%M-%S}"
