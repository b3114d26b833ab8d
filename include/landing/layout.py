"""Object keys: a pure function of where a batch begins in Kafka.

A data file is called

    crypto_data/2026/11/23/crypto_data_20-15-07_p00002_o00000000000000004200.json

date and time are the Kafka timestamp (UTC) of the *first record of the batch*, then
come its partition and first offset. The same batch therefore always gets the same key,
which is what makes a create-only PUT enough to land it once.
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
"""9999-12-31T23:59:59.999Z, the last instant a four-digit year can name."""

_KEY = re.compile(
    r"(?P<y>\d{4})/(?P<m>\d\d)/(?P<d>\d\d)/(?P<kind>crypto_data|dead_letter)_(?P<H>\d\d)-(?P<M>\d\d)-(?P<S>\d\d)"
    rf"_p(?P<partition>\d{{5,}})_o(?P<offset>\d{{20}})(?P<suffix>{'|'.join(map(re.escape, get_args(Suffix)))})$"
)


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """A key taken apart: `time` is the batch's first record's, to the second, UTC."""

    kind: Kind
    time: datetime
    partition: int
    first_offset: int
    suffix: Suffix


def instant(timestamp_ms: int) -> datetime:
    """A Kafka timestamp as UTC time, clamped to years 1970 to 9999 (never to now: keys must not depend on now)."""
    return datetime.fromtimestamp(min(max(timestamp_ms, 0), MAX_TIMESTAMP_MS) // 1000, UTC)


def object_key(
    prefix: str, kind: Kind, partition: int, first_offset: int, timestamp_ms: int, suffix: Suffix = ".json"
) -> str:
    """Key of the batch that begins at `first_offset` of `partition`.

    `prefix` ends with a slash; `timestamp_ms` is the Kafka timestamp of the batch's first
    record, in milliseconds since 1970.
    """
    return f"{prefix}{_stem(kind, timestamp_ms // 1000)}_p{partition:05d}_o{first_offset:020d}{suffix}"


@lru_cache(maxsize=64)
def _stem(kind: Kind, second: int) -> str:
    """What the keys of one second share; at a high rate that is many."""
    return f"{instant(second * 1000):%Y/%m/%d/{kind}_%H-%M-%S}"


def parse_key(key: str) -> ObjectKey | None:
    """The parts of a key under any prefix, or None when the name is not of this contract."""
    found = _KEY.search(key)
    if found is None:
        return None
    y, m, d, hh, mm, ss = (int(found[name]) for name in ("y", "m", "d", "H", "M", "S"))
    return ObjectKey(
        kind=found["kind"],  # type: ignore[arg-type]
        time=datetime(y, m, d, hh, mm, ss, tzinfo=UTC),
        partition=int(found["partition"]),
        first_offset=int(found["offset"]),
        suffix=found["suffix"],  # type: ignore[arg-type]
    )


def start_after(prefix: str, kind: Kind, since: datetime) -> str:
    """A StartAfter value that skips every key of `kind` whose time is before `since`."""
    moment = since.astimezone(UTC)
    return f"{prefix}{moment:%Y/%m/%d}/{kind}_{moment:%H-%M-%S}"
