"""What the monitor reads of the newest objects: arrival times of quotes, and dead letters, on a real S3 endpoint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest

from include.landing.body import GZIP, PLAIN
from include.landing.codec import Codec
from include.landing.dead_letter import DeadLetter, gap, rejected_message
from include.landing.layout import Kind, object_key
from include.monitoring.checks import arrivals, coin_quotes, dead_letters
from include.monitoring.checks.arrivals import HOUR, Arrivals
from include.monitoring.checks.coins import Watched
from include.settings import StorageSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.servers

NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)


def milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def land(bucket: str, partition: int, offset: int, quotes: list[tuple[str, datetime]], codec: Codec = PLAIN) -> None:
    """A data object as the consumer lands it."""
    prefix = codec.prefix("quotes", partition)
    messages = [b'{"id": 1, "symbol": "%s"}' % symbol.encode() for symbol, _ in quotes]
    body = codec.encode([codec.join(prefix, offset, [milliseconds(at) for _, at in quotes], messages)])
    suffix = ".json" if codec is PLAIN else ".json.gz"
    key = object_key("crypto_data/", "crypto_data", partition, offset, milliseconds(quotes[0][1]), suffix)  # type: ignore[arg-type]
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=bytes(body))


def bury(bucket: str, offset: int, *letters: DeadLetter) -> None:
    """A dead-letter object."""
    key = object_key("dead_letter/", "dead_letter", 0, offset, milliseconds(NOW))
    body = PLAIN.encode([letter.to_line() for letter in letters])
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=bytes(body))


def rejected(offset: int) -> DeadLetter:
    return rejected_message(
        topic="quotes", partition=0, offset=offset, timestamp=milliseconds(NOW), error_class="not_json",
        error="no JSON", key=None, value=b"bad", headers=None,
    )  # fmt: skip


def listed(bucket: str, prefix: str, kind: Kind) -> Arrivals:
    return arrivals.count(boto3.client("s3"), bucket, prefix, kind, NOW - HOUR, NOW - HOUR)


def quotes_of(bucket: str) -> dict[str, list[datetime]]:
    s3: S3Client = boto3.client("s3")
    return coin_quotes.read(s3, bucket, listed(bucket, "crypto_data/", "crypto_data").kept)


def test_arrival_times_are_read_from_plain_and_compressed_objects(bucket: str) -> None:
    land(bucket, 0, 0, [("BTC", NOW - 3 * MINUTE), ("BTC", NOW - 2 * MINUTE)])
    land(bucket, 1, 0, [("xrp ", NOW - MINUTE)], GZIP)
    assert quotes_of(bucket) == {"BTC": [NOW - 3 * MINUTE, NOW - 2 * MINUTE], "XRP": [NOW - MINUTE]}


def test_only_the_newest_objects_are_read(bucket: str) -> None:
    for number in range(coin_quotes.MOST_OBJECTS + 6):
        land(bucket, 0, number, [("BTC", NOW - 40 * MINUTE + number * MINUTE)])
    found = quotes_of(bucket)["BTC"]
    assert len(found) == coin_quotes.MOST_OBJECTS
    assert found[0] == NOW - 34 * MINUTE


def test_an_unreadable_object_does_not_hide_the_others(bucket: str) -> None:
    land(bucket, 0, 0, [("BTC", NOW - 3 * MINUTE)])
    key = object_key("crypto_data/", "crypto_data", 0, 1, milliseconds(NOW))
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=b"nonsense")
    assert list(quotes_of(bucket)) == ["BTC"]


def test_what_is_known_about_the_coins_is_kept(bucket: str) -> None:
    s3, storage = boto3.client("s3"), StorageSettings(bucket=bucket)
    assert coin_quotes.known(s3, storage) == {}
    watched = {"BTC": Watched(NOW, NOW, NOW, 60.0, 2)}
    coin_quotes.keep(s3, storage, watched)
    assert coin_quotes.known(s3, storage) == watched
    s3.put_object(Bucket=bucket, Key=coin_quotes.key(storage), Body=b"nonsense")
    assert coin_quotes.known(s3, storage) == {}


def test_dead_letters_are_counted_by_class_with_the_newest_as_example(bucket: str) -> None:
    bury(bucket, 0, rejected(0), gap("quotes", 0, 1, 4, milliseconds(NOW), "deleted"))
    bury(bucket, 5, rejected(5), rejected(6))
    arrived = [item for items in listed(bucket, "dead_letter/", "dead_letter").kept.values() for item in items]
    found = dead_letters.read(boto3.client("s3"), bucket, arrived)
    assert (found.rows, found.messages, found.unread) == ({"not_json": 3, "gap": 1}, 3, 0)
    assert found.first_at is not None
    assert found.example.startswith("quotes/0/")
    assert "not_json: no JSON | bad" in found.example


def test_more_dead_letters_than_are_read_are_counted_as_unread(bucket: str) -> None:
    for number in range(dead_letters.MOST_OBJECTS + 3):
        bury(bucket, number, rejected(number))
    arrived = [item for items in listed(bucket, "dead_letter/", "dead_letter").kept.values() for item in items]
    found = dead_letters.read(boto3.client("s3"), bucket, arrived)
    assert (found.messages, found.unread) == (dead_letters.MOST_OBJECTS, 3)
