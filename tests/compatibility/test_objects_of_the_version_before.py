"""Objects that version 0.1.0 landed are read by this version, which lands the same objects from the same messages.

Version 0.1.0 (commit d6339dd) wrote the files under `fixtures/`. They must never be generated again: files of a newer
version would prove nothing. A change that makes one of these tests fail needs a new prefix, not another fixture.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import obstore
import pytest

# The names of this version. After a change of names only names change in this file, never a value.
from include.ingest.listing import Listing, read_metadata
from include.ingest.metrics import ConsumerMetrics
from include.ingest.partition_writer import Limits, PartitionWriter
from include.ingest.quote import check
from include.ingest.replay.choice import Filter, dead_letter_id, read_dead_letters
from include.ingest.replay.kafka_log import REPLAY_HEADER
from include.ingest.replay.replay import Marker, Replay
from include.ingest.sink import Destination, Sink
from include.ingest.starting_offset import commit_metadata, start_from_commit, start_without_commit
from include.ingest.store import agree, read_contract, replace_contract
from include.landing.codec import CODECS
from include.landing.contract import CellSize, Contract, ContractError
from include.landing.dead_letter import DeadLetter, rejected_message
from include.landing.layout import object_key, parse_key
from include.landing.metadata import ObjectMetadata
from include.monitoring.checks import arrivals
from tests.compatibility.bucket import FIXTURES, Bucket, at, attributes, files, objects, stored

TOPIC, TOPIC_ID = "selected_crypto_data", "Yz5uVqQ3Tz2mJ0b8b1kXxA"
"""The fixtures were landed from this topic."""

Message = tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | str | None]] | None]
"""Offset, timestamp (ms), key, value and headers."""


class Writer:
    """Lands messages of one partition, as the consumer does it."""

    def __init__(self, bucket: Any, partition: int, start: int, suffix: Any = ".json") -> None:
        contract, codec = agree(bucket, "crypto_data/", contract_of(suffix, 10)), CODECS[suffix]
        self._partition = partition
        self._writer = PartitionWriter(
            TOPIC_ID,
            partition,
            1,
            start,
            contract.cells_of(partition),
            Limits(records=10, size_bytes=4096, age_seconds=60.0, window_cells=4),
            codec,
            codec.prefix(TOPIC, partition),
        )
        destination = Destination("crypto_data/", "dead_letter/", contract, codec, "consumer-0:17")
        self._sink = Sink(bucket, destination, ConsumerMetrics(), 1)

    def land(self, messages: Sequence[Message]) -> None:
        """Land the messages, and close the batch after them."""
        for message in messages:
            self._take(*message)
        self._writer.close_open("age")
        puts = self._writer.puts()
        while puts:
            put = puts.pop(0)
            self._sink.submit(put)
            done = self._sink.answers.get(timeout=60)
            assert done.error is None
            assert done.answer is not None
            following = self._writer.answer(put, done.answer)
            puts += [*([following] if following else []), *self._writer.puts()]
        assert self._writer.flushed

    def _take(self, offset: int, timestamp: int, key: bytes | None, value: bytes | None, headers: Any) -> None:
        quotes, errors = check([value], 400)
        if not errors:
            self._writer.feed(offset, [timestamp], quotes, 3, 0.0)
            return
        row = rejected_message(
            topic=TOPIC,
            partition=self._partition,
            offset=offset,
            timestamp=timestamp,
            error_class=errors[0].error_class,
            error=str(errors[0]),
            key=key,
            value=value,
            headers=headers,
        )
        self._writer.reject(offset, timestamp, row, 3, 0.0)

    def close(self) -> None:
        """End the sink's threads."""
        self._sink.close()


def contract_of(suffix: Any, size: int) -> Contract:
    return Contract(
        cluster_id="MkU3OEVBNTcwNTJENDM2Qk",
        topic=TOPIC,
        topic_id=TOPIC_ID,
        suffix=suffix,
        isolation_level="read_committed",
        cells=(CellSize(size=size, starts={}),),
    )


# --- contract and commit ------------------------------------------------------

CONTRACTS = {
    "plain": contract_of(".json", 10),
    "gzip": contract_of(".json.gz", 10),
    "resized": Contract(
        cluster_id="MkU3OEVBNTcwNTJENDM2Qk",
        topic="selected_crypto_data",
        topic_id="Yz5uVqQ3Tz2mJ0b8b1kXxA",
        suffix=".json",
        isolation_level="read_committed",
        cells=(CellSize(size=500, starts={}), CellSize(size=1000, starts={0: 4215, 1: 100_000_003, 2: 620})),
        key_version=1,
        contract_version=1,
    ),
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_object_is_read(name: str) -> None:
    contract_object: Any = read_contract(stored(name), "crypto_data/")  # type: ignore[arg-type]
    assert contract_object.contract == CONTRACTS[name]


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_object_is_written_back_byte_for_byte(name: str) -> None:
    bucket: Any = stored(name)
    contract_object: Any = read_contract(bucket, "crypto_data/")
    replace_contract(bucket, "crypto_data/", contract_object, contract_object.contract)
    assert objects(bucket)["crypto_data/_contract.json"] == files(name)["crypto_data/_contract.json"]


@pytest.mark.parametrize("name", ["plain", "gzip"])
def test_a_new_contract_object_has_the_same_bytes(name: str) -> None:
    empty: Any = Bucket()
    agree(empty, "crypto_data/", CONTRACTS[name])
    assert objects(empty) == {"crypto_data/_contract.json": files(name)["crypto_data/_contract.json"]}


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_consumer_agrees_with_the_contract_of_its_topic(name: str) -> None:
    proposed = contract_of(CONTRACTS[name].suffix, 7)  # the stored contract decides the size of cells
    assert agree(stored(name), "crypto_data/", proposed) == CONTRACTS[name]  # type: ignore[arg-type]


def test_a_consumer_with_gzip_refuses_a_contract_without() -> None:
    with pytest.raises(ContractError, match="suffix"):
        agree(stored("plain"), "crypto_data/", CONTRACTS["gzip"])  # type: ignore[arg-type]


def test_cells_change_their_size_where_the_contract_says() -> None:
    cells = CONTRACTS["resized"].cells_of(0)
    assert [cells.bounds(offset) for offset in (0, 4214, 4215, 5215)] == [
        (0, 500),
        (4000, 4215),
        (4215, 5215),
        (5215, 6215),
    ]


def test_the_commit_is_recognised_as_one_of_the_consumer() -> None:
    commit = json.loads((FIXTURES / "kafka" / "commit.json").read_text())
    assert start_from_commit(commit["partition"], commit["offset"], commit["metadata"], TOPIC_ID) == 500


def test_a_commit_has_the_same_metadata() -> None:
    assert commit_metadata(TOPIC_ID) == "crypto-lakehouse/1 Yz5uVqQ3Tz2mJ0b8b1kXxA"
    assert json.loads((FIXTURES / "kafka" / "commit.json").read_text())["metadata"] == commit_metadata(TOPIC_ID)


# --- landed objects -----------------------------------------------------------

BTC = b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":64123.12,"last_updated":"2025-11-23T20:15:07Z"}'
ETH = (
    '{"id": 1027, "symbol": "ETH", "name": "Ethereum Ξ",\n "price": 3411.50, '
    '"last_updated": "2025-11-23T20:15:07.500+01:00", "volume_24h": 1.5e3}'
).encode()
XRP = b'{"id":52,"symbol":"XRP","name":"XRP","price":2.10,"last_updated":"2025-11-23T20:15:08Z"}'

THREE_QUOTES: list[Message] = [
    (4200, 1763928907123, b"BTC", BTC, None),
    (4201, 1763928907500, b"ETH", ETH, None),
    (4202, 1763928908127, b"XRP", XRP, None),
]
NO_QUOTE: list[Message] = [
    (4203, 1763928967123, b"BTC", b"no quote at all", [("source", b"probe"), ("trace", None)]),
]
AFTER_A_GAP: list[Message] = [  # offsets 4204 and 4205 have no message
    (4206, 1763929027123, b"BTC", BTC, None),
    (4207, 1763929027124, b"BTC", None, None),
    (
        4208,
        1763929027125,
        None,
        b'{"id":1,"symbol":"BTC","name":"Bitcoin","last_updated":"2025-11-23T20:15:07Z"}',
        None,
    ),
    (
        4209,
        1763929027126,
        None,
        b'{"id":"one","symbol":"BTC","name":"Bitcoin","price":1,"last_updated":"2025-11-23T20:15:07Z"}',
        None,
    ),
]
MOSTLY_REJECTED: list[Message] = [
    (4210, 1763929027127, None, BTC.replace(b"64123.12", b"-1"), None),
    (4211, 1763929027128, None, BTC.replace(b'{"id"', b'{"_offset":7,"id"'), None),
    (4212, 1763929027129, None, b'{"id":1,"symbol":"\xff"}', None),
    (4213, 1763929027130, None, BTC.replace(b"Bitcoin", b"B" * 420), None),
    (4214, 1763929027131, b"XRP", XRP, None),
]
AROUND_MIDNIGHT: list[Message] = [
    (99_999_997, 1763942399999, b"BTC", BTC, None),
    (99_999_998, 1763942400000, b"ETH", ETH, None),
    (99_999_999, 1763942400005, b"XRP", XRP, None),
]
REJECTED_EARLIER: list[Message] = [  # the version that landed these messages rejected the second
    (100_000_000, 1763942460000, b"k", BTC, None),
    (100_000_001, 1763942460001, b"k", ETH, None),
    (100_000_002, 1763942460002, b"k", XRP, None),
]
BATCHES: dict[tuple[int, int], list[list[Message]]] = {  # by partition and first offset
    (0, 4200): [THREE_QUOTES, NO_QUOTE, AFTER_A_GAP, MOSTLY_REJECTED],
    (1, 99_999_997): [AROUND_MIDNIGHT],
}

# key: time, partition, first and last offset, records, rejected, writer
LANDED = {
    "crypto_data/2025/11/23/crypto_data_20-15-07_p00000_o00000000000000004200.json": (
        "2025-11-23T20:15:07", 0, 4200, 4202, 3, 0, "consumer-0:17"
    ),
    "crypto_data/2025/11/23/crypto_data_20-16-07_p00000_o00000000000000004203.json": (
        "2025-11-23T20:16:07", 0, 4203, 4203, 0, 1, "consumer-0:17"
    ),
    "crypto_data/2025/11/23/crypto_data_20-17-07_p00000_o00000000000000004206.json": (
        "2025-11-23T20:17:07", 0, 4206, 4209, 1, 4, "consumer-0:17"
    ),
    "crypto_data/2025/11/23/crypto_data_20-17-07_p00000_o00000000000000004210.json": (
        "2025-11-23T20:17:07", 0, 4210, 4213, 0, 4, "consumer-0:17"
    ),
    "crypto_data/2025/11/23/crypto_data_20-17-07_p00000_o00000000000000004214.json": (
        "2025-11-23T20:17:07", 0, 4214, 4214, 1, 0, "consumer-0:17"
    ),
    "crypto_data/2025/11/23/crypto_data_23-59-59_p00001_o00000000000099999997.json": (
        "2025-11-23T23:59:59", 1, 99_999_997, 99_999_997, 1, 0, "consumer-0:17"
    ),
    "crypto_data/2025/11/24/crypto_data_00-00-00_p00001_o00000000000099999998.json": (
        "2025-11-24T00:00:00", 1, 99_999_998, 99_999_999, 2, 0, "consumer-0:17"
    ),
    "crypto_data/2025/11/24/crypto_data_00-01-00_p00001_o00000000000100000000.json": (
        "2025-11-24T00:01:00", 1, 100_000_000, 100_000_002, 2, 1, "consumer-1:21"
    ),
    "crypto_data/2025/11/23/crypto_data_20-15-07_p00002_o00000000000000000000.json": (
        "2025-11-23T20:15:07", 2, 0, 2, 3, 0, "consumer-0:17"
    ),
    "dead_letter/2025/11/23/dead_letter_20-16-07_p00000_o00000000000000004203.json": (
        "2025-11-23T20:16:07", 0, 4203, 4203, 0, 1, "consumer-0:17"
    ),
    "dead_letter/2025/11/23/dead_letter_20-17-07_p00000_o00000000000000004206.json": (
        "2025-11-23T20:17:07", 0, 4206, 4209, 0, 4, "consumer-0:17"
    ),
    "dead_letter/2025/11/23/dead_letter_20-17-07_p00000_o00000000000000004210.json": (
        "2025-11-23T20:17:07", 0, 4210, 4213, 0, 4, "consumer-0:17"
    ),
    "dead_letter/2025/11/24/dead_letter_00-01-00_p00001_o00000000000100000000.json": (
        "2025-11-24T00:01:00", 1, 100_000_000, 100_000_002, 0, 1, "consumer-0:17"
    ),
    "dead_letter/2025/11/24/dead_letter_06-30-00_p00002_o00000000000000000003.json": (
        "2025-11-24T06:30:00", 2, 3, 499, 0, 1, "adopt"
    ),
}  # fmt: skip
ZIPPED = {
    "crypto_data/2025/11/23/crypto_data_20-15-07_p00000_o00000000000000004200.json.gz": (
        "2025-11-23T20:15:07", 0, 4200, 4202, 3, 0, "consumer-0:17"
    ),
    "crypto_data/2025/11/23/crypto_data_20-16-07_p00000_o00000000000000004203.json.gz": (
        "2025-11-23T20:16:07", 0, 4203, 4203, 0, 1, "consumer-0:17"
    ),
    "dead_letter/2025/11/23/dead_letter_20-16-07_p00000_o00000000000000004203.json.gz": (
        "2025-11-23T20:16:07", 0, 4203, 4203, 0, 1, "consumer-0:17"
    ),
}  # fmt: skip
ALL = [("plain", key) for key in LANDED] + [("gzip", key) for key in ZIPPED]


def test_the_fixtures_hold_these_landed_objects() -> None:
    assert set(attributes("plain")) == set(LANDED)
    assert set(attributes("gzip")) == set(ZIPPED)


@pytest.mark.parametrize(("name", "key"), ALL)
def test_a_key_is_read_and_made_again(name: str, key: str) -> None:
    time, partition, first, *_ = (LANDED | ZIPPED)[key]
    parts = parse_key(key)
    assert parts is not None
    assert (parts.time, parts.partition, parts.first_offset) == (at(time), partition, first)
    prefix = key.partition("/")[0]
    timestamp = int(at(time).timestamp() * 1000) + 999
    assert (parts.kind, parts.suffix) == (prefix, CONTRACTS[name].suffix)
    assert object_key(f"{prefix}/", parts.kind, partition, first, timestamp, parts.suffix) == key


@pytest.mark.parametrize(("name", "key"), ALL)
def test_the_metadata_of_an_object_are_read_and_made_again(name: str, key: str) -> None:
    _, partition, first, last, records, rejected, writer = (LANDED | ZIPPED)[key]
    metadata = read_metadata(stored(name), key)  # type: ignore[arg-type]
    assert metadata == ObjectMetadata(
        topic=TOPIC,
        topic_id=TOPIC_ID,
        partition=partition,
        first_offset=first,
        last_offset=last,
        records=records,
        rejected=rejected,
        writer=writer,
    )
    content_type = {"plain": "application/json", "gzip": "application/gzip"}[name]
    assert metadata.to_attributes() | {"Content-Type": content_type} == attributes(name)[key]


@pytest.mark.parametrize(("name", "key"), ALL)
def test_an_object_has_as_many_rows_as_its_metadata_say(name: str, key: str) -> None:
    _, _, first, last, records, rejected, _ = (LANDED | ZIPPED)[key]
    rows = CODECS[CONTRACTS[name].suffix].decode(files(name)[key])
    assert len(rows) == (rejected if key.startswith("dead_letter/") else records)
    assert all(first - 2 <= row["_offset"] <= last for row in rows)  # the largest hole before an object has two offsets


@pytest.mark.parametrize("name", ["plain", "gzip"])
def test_the_rows_of_a_data_object_are_read(name: str) -> None:
    (key,) = (key for key in files(name) if "crypto_data_20-15-07_p00000" in key)
    assert CODECS[CONTRACTS[name].suffix].decode(files(name)[key]) == [
        {
            "_topic": "selected_crypto_data",
            "_partition": 0,
            "_offset": 4200,
            "_timestamp": 1763928907123,
            "id": 1,
            "symbol": "BTC",
            "name": "Bitcoin",
            "price": 64123.12,
            "last_updated": "2025-11-23T20:15:07Z",
        },
        {
            "_topic": "selected_crypto_data",
            "_partition": 0,
            "_offset": 4201,
            "_timestamp": 1763928907500,
            "id": 1027,
            "symbol": "ETH",
            "name": "Ethereum Ξ",
            "price": 3411.5,
            "last_updated": "2025-11-23T20:15:07.500+01:00",
            "volume_24h": 1500.0,
        },
        {
            "_topic": "selected_crypto_data",
            "_partition": 0,
            "_offset": 4202,
            "_timestamp": 1763928908127,
            "id": 52,
            "symbol": "XRP",
            "name": "XRP",
            "price": 2.1,
            "last_updated": "2025-11-23T20:15:08Z",
        },
    ]


def without_times(content: dict[str, bytes]) -> dict[str, Any]:
    """Objects by key; dead letters as rows without the time of their rejection, which differs."""
    return {
        key: [{name: value for name, value in row.items() if name != "rejected_at"} for row in json.loads(data)]
        if key.startswith("dead_letter/")
        else data
        for key, data in content.items()
    }


def unzipped(content: dict[str, bytes]) -> dict[str, bytes]:
    """Objects by key, without gzip: another build of zlib may compress the same bytes differently."""
    return {
        key: zlib.decompress(data, 16 + zlib.MAX_WBITS) if key.endswith(".gz") else data
        for key, data in content.items()
    }


def expected(name: str, partitions: set[int]) -> dict[str, bytes]:
    """The contract and the objects of `partitions` in a fixture bucket, without the objects of REJECTED_EARLIER."""
    kept = {key for key, facts in (LANDED | ZIPPED).items() if facts[1] in partitions and facts[2] < 100_000_000}
    return {key: data for key, data in files(name).items() if key in kept or key.endswith("/_contract.json")}


def named_hole(content: dict[str, bytes]) -> dict[str, bytes]:
    """The objects as this version lands them: a record names the hole before it, so it is no dead letter."""
    (key,) = content.keys() & GAPS.keys()
    data = key.replace("dead_letter", "crypto_data")
    gap = b"\n" + GAPS[key].to_line() + b","
    assert gap in content[key]
    row = content[data].replace(b'"_timestamp":1763929027123,', b'"_timestamp":1763929027123,"_hole":2,')
    return content | {key: content[key].replace(gap, b""), data: row}


def test_the_same_messages_land_as_the_same_objects() -> None:
    empty = Bucket()
    for (partition, start), batches in BATCHES.items():
        writer = Writer(empty, partition, start)
        for messages in batches:
            writer.land(messages)
        writer.close()
    now = named_hole(expected("plain", {0, 1}))
    assert without_times(objects(empty)) == without_times(now)
    for key in now.keys() & LANDED.keys():
        facts = attributes("plain")[key]
        if facts["first-offset"] == "4206":
            facts = facts | {"begin-offset": "4204", "rejected": str(int(facts["rejected"]) - 1)}
        assert dict(obstore.get(empty, key).attributes) == facts


def test_the_same_messages_land_as_the_same_objects_with_gzip() -> None:
    empty = Bucket()
    writer = Writer(empty, 0, 4200, ".json.gz")
    for messages in (THREE_QUOTES, NO_QUOTE):
        writer.land(messages)
    writer.close()
    assert without_times(unzipped(objects(empty))) == without_times(unzipped(expected("gzip", {0})))
    for key in ZIPPED:
        assert dict(obstore.get(empty, key).attributes) == attributes("gzip")[key]


def test_landing_the_same_messages_again_changes_nothing(bucket: Bucket) -> None:
    for (partition, start), batches in BATCHES.items():
        writer = Writer(bucket, partition, start)
        for messages in batches:
            writer.land(messages)
        writer.close()
    assert objects(bucket) == files("plain")


def test_dead_letters_that_a_dead_consumer_left_out_are_written(bucket: Bucket) -> None:
    (key,) = (key for key in LANDED if key.startswith("dead_letter/") and LANDED[key][2] == 100_000_000)
    obstore.delete(bucket, key)
    writer = Writer(bucket, 1, 100_000_000)
    writer.land(REJECTED_EARLIER)
    writer.close()
    assert without_times(objects(bucket)) == without_times(files("plain"))


@pytest.fixture
def listing(bucket: Any, settings: Any) -> Listing:
    listing = Listing(bucket, settings.storage, TOPIC_ID, {0: 1, 1: 1, 2: 1})
    assert listing.wait(60)
    listing.check()
    return listing


def test_a_listing_has_objects_and_the_offsets_that_an_operator_skipped(listing: Listing) -> None:
    assert listing.first_offsets(0) == [4200, 4203, 4206, 4210, 4214]
    assert listing.first_offsets(1) == [99_999_997, 99_999_998, 100_000_000]
    assert listing.first_offsets(2) == [0]
    assert [listing.skipped(partition) for partition in (0, 1, 2)] == [[], [], [(3, 499)]]


def test_a_partition_without_a_commit_starts_after_skipped_offsets(listing: Listing) -> None:
    cells = CONTRACTS["plain"].cells_of(2)
    start = start_without_commit(2, listing.first_offsets(2), listing.skipped(2), cells, log_start=500)
    assert start == 500


def test_the_monitor_finds_the_oldest_object(s3: Any) -> None:
    assert arrivals.first_landed(s3, "lake", "crypto_data/") == at("2025-11-23T20:15:07")


# --- dead letters and their replay ----------------------------------------------

ERROR_CLASSES = {  # by offset; gaps have no message and are not chosen
    4203: "not_json",
    4207: "empty",
    4208: "missing_field",
    4209: "wrong_type",
    4210: "out_of_range",
    4211: "reserved_field",
    4212: "not_utf8",
    4213: "too_large",
    100_000_001: "rejected_earlier",
}
NOT_JSON = DeadLetter(
    topic="selected_crypto_data",
    partition=0,
    offset=4203,
    timestamp=1763928967123,
    last_offset=4203,
    error_class="not_json",
    error="JSON is malformed: invalid character (byte 4)",
    key=b"BTC",
    payload=b"no quote at all",
    headers=[("source", b"probe"), ("trace", None)],
    rejected_at=at("2025-11-23T20:15:09.251430"),
)
GAPS = {
    "dead_letter/2025/11/23/dead_letter_20-17-07_p00000_o00000000000000004206.json": DeadLetter(
        topic="selected_crypto_data",
        partition=0,
        offset=4204,
        timestamp=1763929027123,
        last_offset=4205,
        error_class="gap",
        error="no record at these offsets: transaction markers, or records deleted before they were read",
        key=None,
        payload=None,
        headers=[],
        rejected_at=at("2025-11-23T20:15:09.256698"),
    ),
    "dead_letter/2025/11/24/dead_letter_06-30-00_p00002_o00000000000000000003.json": DeadLetter(
        topic="selected_crypto_data",
        partition=2,
        offset=3,
        timestamp=1763965800042,
        last_offset=499,
        error_class="gap",
        error="given up by an operator (adopt)",
        key=None,
        payload=None,
        headers=[],
        rejected_at=at("2025-11-23T20:15:09.265917"),
    ),
}


def dead_letters(bucket: Any, settings: Any) -> dict[int, DeadLetter]:
    """The dead letters that can be replayed, by offset."""
    unreadable: list[str] = []
    chosen = {letter.offset: letter for letter in read_dead_letters(bucket, settings.storage, Filter(), unreadable)}
    assert unreadable == []
    return chosen


def test_dead_letters_of_every_class_are_read(bucket: Bucket, settings: Any) -> None:
    chosen = dead_letters(bucket, settings)
    assert {offset: letter.error_class for offset, letter in chosen.items()} == ERROR_CLASSES


def test_a_dead_letter_keeps_the_message(bucket: Bucket, settings: Any) -> None:
    letter = dead_letters(bucket, settings)[4203]
    assert letter == NOT_JSON
    assert (letter.payload, letter.key) == (b"no quote at all", b"BTC")
    assert letter.headers == [("source", b"probe"), ("trace", None)]


@pytest.mark.parametrize("key", GAPS)
def test_a_gap_is_read(key: str) -> None:
    assert DeadLetter.from_row(CODECS[".json"].decode(files("plain")[key])[0]) == GAPS[key]


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, key in ALL if key.startswith("dead_letter/")])
def test_dead_letters_are_written_back_byte_for_byte(name: str, key: str) -> None:
    data, codec = files(name)[key], CODECS[CONTRACTS[name].suffix]
    lines = [DeadLetter.from_row(row).to_line() for row in codec.decode(data)]
    assert unzipped({key: codec.encode(lines)}) == unzipped({key: data})


class Topic:
    """The topic, on which the messages at `offsets` were replayed already."""

    def __init__(self, *offsets: int) -> None:
        self.offsets = list(offsets)

    def ends(self, topic: str) -> dict[int, int]:
        return {0: 9000}

    def holds(self, letter: DeadLetter, since: dict[int, int]) -> bool:
        assert since == {0: 4215, 1: 100_000_003, 2: 620}
        return letter.offset in self.offsets

    def send(self, letter: DeadLetter) -> None:
        self.offsets.append(letter.offset)


ENDS = {0: 4215, 1: 100_000_003, 2: 620}
BY_THE_DAG = "DAG dead_letter_replay on worker-1, process 4711 (a4af55ed)"
MARKERS = {
    4203: Marker(
        letter="selected_crypto_data/0/4203",
        log_ends=ENDS,
        claimed_at=at("2025-11-24T07:00:00.501317"),
        claimed_by=BY_THE_DAG,
        replayed_at=at("2025-11-24T07:00:00.503951"),
    ),
    4207: Marker(
        letter="selected_crypto_data/0/4207",
        log_ends=ENDS,
        claimed_at=at("2025-11-24T07:00:00.505268"),
        claimed_by=BY_THE_DAG,
        replayed_at=None,
    ),
    4213: Marker(
        letter="selected_crypto_data/0/4213",
        log_ends=ENDS,
        claimed_at=at("2025-11-24T07:00:00.507902"),
        claimed_by=None,
        replayed_at=None,
    ),
}


def marker_key(offset: int) -> str:
    return f"state/replayed/p00000_o{offset:020d}.json"


@pytest.mark.parametrize("offset", MARKERS)
def test_a_replay_marker_is_read_and_written_back_byte_for_byte(offset: int) -> None:
    data = files("plain")[marker_key(offset)]
    marker = msgspec.json.decode(data, type=Marker)
    assert marker == MARKERS[offset]
    assert msgspec.json.encode(marker) == data


def test_a_dead_letter_that_was_sent_is_not_pending(bucket: Any, settings: Any) -> None:
    replay = Replay(Topic(), settings.storage, bucket, "test")
    pending = replay.pending(dead_letters(bucket, settings).values())
    assert [letter.offset for letter in pending] == [offset for offset in ERROR_CLASSES if offset != 4203]


def test_a_dead_letter_that_was_sent_is_not_sent_again(bucket: Any, settings: Any) -> None:
    topic = Topic()
    assert not Replay(topic, settings.storage, bucket, "test").send(dead_letters(bucket, settings)[4203])
    assert topic.offsets == []
    assert objects(bucket) == files("plain")


@pytest.mark.parametrize("offset", [4207, 4213])
def test_a_claim_that_has_ended_is_completed_if_its_message_was_sent(bucket: Any, settings: Any, offset: int) -> None:
    topic = Topic(offset)
    assert not Replay(topic, settings.storage, bucket, "test").send(dead_letters(bucket, settings)[offset])
    assert topic.offsets == [offset]
    before, after = json.loads(files("plain")[marker_key(offset)]), json.loads(objects(bucket)[marker_key(offset)])
    assert datetime.fromisoformat(after["replayed_at"]).tzinfo is not None
    assert after == before | {"replayed_at": after["replayed_at"]}


@pytest.mark.parametrize("offset", [4207, 4213])
def test_a_dead_letter_is_sent_if_its_claim_ended_without_a_message(bucket: Any, settings: Any, offset: int) -> None:
    topic = Topic()
    assert Replay(topic, settings.storage, bucket, "test").send(dead_letters(bucket, settings)[offset])
    assert topic.offsets == [offset]
    before, after = json.loads(files("plain")[marker_key(offset)]), json.loads(objects(bucket)[marker_key(offset)])
    assert after["claimed_by"].startswith("test on ")
    changed = {name: after[name] for name in ("claimed_at", "claimed_by", "replayed_at")}
    assert after == before | changed


def test_a_replayed_message_has_the_same_header() -> None:
    assert (REPLAY_HEADER, dead_letter_id(NOT_JSON)) == ("replay-of", "selected_crypto_data/0/4203")
