"""Where a record is, by each of the three ways, with at most three requests to S3."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import obstore
import pytest

from include.audit.queries import Placed, QuotePlace
from include.audit.record_log import LogEntry
from include.audit.where import Where, Whereabouts
from include.ingest.replay.replay import Marker
from tests.unit.audit.landed_days import AFTER, BEFORE, DAY, LandedDays, quote, time_of

MOST_BYTES = 1024


class FakeLog:
    """Kafka with every record of `LandedDays`; nothing is read before `begin`."""

    def __init__(self, begin: int = 0) -> None:
        self.begin = begin

    def entry(self, partition: int, offset: int) -> LogEntry:
        end = 40 if partition == 0 else 60
        absent = {30, 31, 32} if partition == 1 else set()
        visible = [at for at in range(self.begin, 36 if partition == 0 else 57) if at not in absent]
        record = next((at for at in visible if at >= offset), None)
        if offset < self.begin or offset >= end or record is None:
            return LogEntry(self.begin, end, None, {}, None)
        rejected = {0: {22}, 1: {22, *range(45, 50)}}[partition]
        days = {True: BEFORE, False: DAY if record < (30 if partition == 0 else 50) else AFTER}
        times = {at: time_of(days[at < 10], at) for at in visible if offset - 9 <= at <= record}
        return LogEntry(self.begin, end, record, times, b"{" if record in rejected else quote(record))


@pytest.fixture
def days() -> LandedDays:
    return LandedDays()


def finder(days: LandedDays, log: FakeLog | None = None, layers: list[Placed] | None = None) -> Where:
    query: Any = None if layers is None else lambda *_: layers
    return Where(days.store, days.storage, log, query, MOST_BYTES)


def known(answer: Whereabouts) -> tuple[str, str, int]:
    assert answer.requests <= 3
    return answer.kind, answer.key, answer.line


@pytest.mark.parametrize(
    ("partition", "offset", "kind", "first", "line"),
    [
        (0, 15, "crypto_data", 10, 7),
        (0, 22, "dead_letter", 20, 2),
        (0, 25, "crypto_data", 20, 6),
        (1, 31, "hole", 33, 2),
        (1, 47, "dead_letter", 45, 4),
    ],
)
def test_kafka_knows_the_object_of_a_record(
    days: LandedDays, partition: int, offset: int, kind: Any, first: int, line: int
) -> None:
    answer = finder(days, FakeLog()).find(partition, offset)
    folder = "dead_letter" if kind == "dead_letter" else "crypto_data"
    assert known(answer) == (kind, days.key(DAY, partition, first, folder), line)  # type: ignore[arg-type]
    assert answer.landed_at is not None


@pytest.mark.parametrize(
    ("partition", "offset", "why"),
    [
        (0, 40, "not on the topic yet"),
        (0, 37, "a hole at the log's end"),
        (1, 55, "on the topic since 2026-11-24T12:00:55Z and not landed yet"),
    ],
)
def test_a_record_that_is_not_landed_has_a_reason(days: LandedDays, partition: int, offset: int, why: str) -> None:
    obstore.delete(days.store, days.key(AFTER, 1, 50))
    answer = finder(days, FakeLog()).find(partition, offset)
    assert answer.kind == ""
    assert why in answer.text("bucket")


@pytest.mark.parametrize(("offset", "kind"), [(31, "hole"), (42, "gap"), (47, "dead_letter"), (12, "crypto_data")])
def test_a_manifest_knows_what_kafka_deleted(days: LandedDays, offset: int, kind: str) -> None:
    days.auditor().run()
    answer = finder(days, FakeLog(begin=50)).find(1, offset)
    assert answer.kind == kind
    assert answer.requests <= 3 + (kind == "dead_letter")


def test_an_offset_that_nothing_knows_was_deleted(days: LandedDays) -> None:
    answer = finder(days, FakeLog(begin=50)).find(1, 12)
    assert "deleted before it was landed" in answer.why


def test_the_warehouse_knows_the_object_and_the_layers(days: LandedDays) -> None:
    key = days.key(DAY, 0, 10)
    layers = [
        Placed("bronze", f"s3://bucket/{key}", "2026-11-23 12:05:00"),
        Placed("silver", "q1", "2026-11-23 12:06:00"),
        Placed("gold", "2026-11-23 20:00:00", "2026-11-23 12:07:00"),
    ]
    answer = finder(days, None, layers).find(0, 15)
    assert known(answer) == ("crypto_data", key, 7)
    assert answer.requests == 1
    assert "gold: hour 2026-11-23 20:00:00, since 2026-11-23 12:07:00" in answer.text("bucket")


def test_a_landed_record_that_is_not_in_bronze_waits_for_the_transform(days: LandedDays) -> None:
    text = finder(days, FakeLog(), []).find(0, 15).text("bucket")
    assert "bronze: not built yet; the next run of crypto_transform loads it" in text


def test_the_rule_of_a_quarantined_record_is_named(days: LandedDays) -> None:
    found = f"s3://bucket/{days.key(DAY, 0, 10)}"
    layers = [Placed("bronze", found, "a"), Placed("quarantine", "wrong_symbol", "b")]
    assert "quarantine: rule wrong_symbol, since b" in finder(days, None, layers).find(0, 15).text("bucket")


def test_a_replayed_dead_letter_says_when(days: LandedDays) -> None:
    import msgspec

    at = datetime(2026, 11, 24, 8, tzinfo=UTC)
    marker = Marker(f"t/{0}/{22}", {}, at, None, at)
    obstore.put(days.store, "state/replayed/p00000_o00000000000000000022.json", msgspec.json.encode(marker))
    answer = finder(days, FakeLog()).find(0, 22)
    assert known(answer)[0] == "dead_letter"
    assert answer.replayed == "at 2026-11-24T08:00:00Z"


def test_a_coin_and_a_time_name_the_records(days: LandedDays) -> None:
    calls: list[str] = []

    def query(call: str, _: object) -> Any:
        calls.append(call)
        return [QuotePlace(0, 15)]

    where = Where(days.store, days.storage, None, query, MOST_BYTES)
    assert where.quotes("btc", datetime(2026, 11, 23, 20, 15, 7, tzinfo=UTC)) == [(0, 15)]
    assert calls == ["audit_quotes('BTC', '2026-11-23 20:15:07')"]
