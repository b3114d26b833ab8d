"""Which dead letters are read, and what happens to unreadable objects."""

from __future__ import annotations

from datetime import date

import obstore
import pytest
from msgspec import structs

from include.ingest.replay.choice import Filter, read_dead_letters, summary
from include.landing.body import PLAIN
from include.landing.layout import object_key
from include.settings import StorageSettings
from tests.unit.ingest.memory_bucket import Bucket
from tests.unit.ingest.replay.dead_letters import rejected

STORAGE = StorageSettings()


@pytest.mark.parametrize("content", [b"torn", b'[{"_topic": "quotes"}]', b'[{"payload": 1}]', None])
def test_an_unreadable_object_is_named_and_the_others_are_read(content: bytes | None) -> None:
    if content is None:  # invalid base64
        content = b"[" + rejected().to_line().replace(b'="', b'"') + b"]"
    store = Bucket()
    bad = object_key("dead_letter/", "dead_letter", 0, 7, 0)
    obstore.put(store, bad, content)
    good = bytes(PLAIN.encode([rejected(8).to_line()]))
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 8, 0), good)
    unreadable: list[str] = []
    dead_letters = list(read_dead_letters(store, STORAGE, Filter(since=date(1970, 1, 1)), unreadable))
    assert [dead_letter.offset for dead_letter in dead_letters] == [8]
    (text,) = unreadable
    assert text.startswith(f"s3://{STORAGE.bucket}/{bad}: ")
    assert list(read_dead_letters(store, STORAGE, Filter(partition=1), unreadable)) == []
    assert len(unreadable) == 1  # the bad object is of partition 0, which the second filter leaves out


@pytest.mark.parametrize(
    ("choice", "offsets"),
    [
        (Filter(), [0, 1, 2]),
        (Filter(since=date(1970, 1, 2)), [1, 2]),
        (Filter(until=date(1970, 1, 2)), [0, 1]),
        (Filter(since=date(1970, 1, 2), until=date(1970, 1, 2)), [1]),
        (Filter(offset=2), [2]),
        (Filter(error_class="empty"), []),
    ],
)
def test_a_filter_chooses_by_inclusive_days_offset_and_class(choice: Filter, offsets: list[int]) -> None:
    store = Bucket()
    for day in range(3):
        content = bytes(PLAIN.encode([rejected(day).to_line()]))
        obstore.put(store, object_key("dead_letter/", "dead_letter", 0, day, day * 86_400_000), content)
    assert [dead_letter.offset for dead_letter in read_dead_letters(store, STORAGE, choice, [])] == offsets


@pytest.mark.parametrize(
    ("milliseconds", "shown"), [(-(10**15), "1970-01-01T00:00:00"), (2**63 - 1, "9999-12-31T23:59:59")]
)
def test_a_dead_letter_may_have_any_time(milliseconds: int, shown: str) -> None:
    assert summary(structs.replace(rejected(), timestamp=milliseconds))[1].startswith(shown)
