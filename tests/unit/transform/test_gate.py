"""The gate before bronze: only new files open it, and it misses no file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
from hypothesis import given
from hypothesis import strategies as st

from include.landing.layout import object_key
from include.settings import StorageSettings
from include.transform import gate

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DAY = 86_400_000


def check(s3: S3Client, storage: StorageSettings) -> tuple[bool, gate.Seen]:
    """Whether new data has landed, and the newest keys now."""
    look = gate.look(s3, storage, datetime.now(UTC))
    return look.is_new, look.seen


def key(partition: int, offset: int, at: int) -> str:
    return object_key("crypto_data/", "crypto_data", partition, offset, at)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=30))
def test_advance_keeps_the_newest_key_of_each_partition(landed: list[tuple[int, int]]) -> None:
    keys = [key(partition, offset, offset * 1000) for partition, offset in landed]
    seen = gate.advance({}, [*keys, "crypto_data/_contract.json", "crypto_data/notes.txt"])
    assert set(seen) == {partition for partition, _ in landed}
    for partition, newest in seen.items():
        assert newest == max(name for name in keys if f"_p{partition:05d}_" in name)
    assert gate.advance(seen, keys) == seen


def test_the_gate_opens_for_new_files_in_s3(bucket: str) -> None:
    s3, storage = boto3.client("s3"), StorageSettings(bucket=bucket)

    def land(partition: int, offset: int, at: int) -> None:
        s3.put_object(Bucket=bucket, Key=key(partition, offset, at), Body=b"[]")

    assert check(s3, storage) == (False, {})
    s3.put_object(Bucket=bucket, Key="crypto_data/_contract.json", Body=b"{}")
    assert check(s3, storage)[0] is False
    land(0, 0, 20 * DAY)
    land(1, 0, 20 * DAY)
    is_new, seen = check(s3, storage)
    assert is_new
    # Until bronze succeeds, the same data is new again.
    assert check(s3, storage)[0] is True
    gate.write_seen(s3, storage, seen)
    assert check(s3, storage)[0] is False
    land(0, 100, 21 * DAY)
    is_new, seen = check(s3, storage)
    assert is_new
    gate.write_seen(s3, storage, seen)
    # Partition 1 is a day later than partition 0: its file sorts below the newest key of all.
    land(1, 100, 20 * DAY + 5_000)
    is_new, seen = check(s3, storage)
    assert is_new
    gate.write_seen(s3, storage, seen)
    assert check(s3, storage)[0] is False
