"""The start of a run: which run counts as one, also if its look for new files fails."""

from __future__ import annotations

from datetime import UTC, datetime

import boto3
import pytest
from botocore.exceptions import ClientError

from include.landing.layout import object_key
from include.settings import StorageSettings
from include.state.json_object import StateUnreadableError
from include.transform import gate, starts
from include.transform.start_rule import Start
from tests.unit.refusing_s3 import s3_that_refuses

pytestmark = pytest.mark.servers

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)


@pytest.fixture
def storage(bucket: str) -> StorageSettings:
    return StorageSettings(bucket=bucket)


def land(storage: StorageSettings) -> None:
    key = object_key(storage.data_prefix, "crypto_data", 0, 0, int(NOW.timestamp()) * 1000)
    boto3.client("s3").put_object(Bucket=storage.bucket, Key=key, Body=b"[]")


@pytest.mark.parametrize(
    ("by_hand", "by_event", "has_new", "goes_on", "is_start"),
    [
        (False, False, False, False, False),  # cron, or a trigger by hand without a parameter
        (False, False, True, True, True),
        (False, True, False, False, True),
        (False, True, True, True, True),
        (True, False, False, True, True),
    ],
)
def test_which_run_goes_on_and_which_is_a_start(
    storage: StorageSettings, by_hand: bool, by_event: bool, has_new: bool, goes_on: bool, is_start: bool
) -> None:
    if has_new:
        land(storage)
    s3 = boto3.client("s3")
    look, goes = starts.begin(s3, storage, "run", Start(NOW), by_hand=by_hand, by_event=by_event)
    assert (look.is_new, goes) == (has_new, goes_on)
    assert starts.read_starts(s3, storage) == ({"run": Start(NOW)} if is_start else {})


def test_a_run_whose_look_s3_refuses_is_a_start(storage: StorageSettings) -> None:
    """Otherwise the trigger, to which S3 may answer, would start the next one every two minutes."""
    with pytest.raises(ClientError):
        starts.begin(s3_that_refuses("ListObjectsV2"), storage, "run", Start(NOW), by_hand=False, by_event=True)
    assert starts.read_starts(boto3.client("s3"), storage) == {"run": Start(NOW)}


def test_a_run_that_finds_unreadable_counts_is_a_start(storage: StorageSettings) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket=storage.bucket, Key=storage.state_prefix + gate.HOURS, Body=b"{")
    with pytest.raises(StateUnreadableError, match="delete it"):
        starts.begin(s3, storage, "run", Start(NOW), by_hand=False, by_event=True)
    assert starts.read_starts(s3, storage) == {"run": Start(NOW)}
