"""Which dead letters an operator chooses, and how they are listed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import obstore
from obstore.store import ObjectStore

from include.landing.codec import CODECS, Suffix
from include.landing.dead_letter import DeadLetter
from include.landing.layout import ObjectKey, instant, parse_key
from include.settings import StorageSettings


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are chosen. Days are inclusive, by the Kafka timestamp (UTC). None means any."""

    since: date | None = None
    until: date | None = None
    error_class: str | None = None
    partition: int | None = None
    offset: int | None = None

    def matches(self, dead_letter: DeadLetter) -> bool:
        """Whether a row is chosen. A gap holds no message, so it is never chosen."""
        return (
            dead_letter.error_class != "gap"
            and self.error_class in (None, dead_letter.error_class)
            and self.partition in (None, dead_letter.partition)
            and self.offset in (None, dead_letter.offset)
        )

    def matches_key(self, key: ObjectKey) -> bool:
        """Whether an object may hold chosen rows."""
        day = key.time.date()
        return (self.since or day) <= day <= (self.until or day) and self.partition in (None, key.partition)


def read_dead_letters(
    store: ObjectStore, storage: StorageSettings, choice: Filter, unreadable: list[str]
) -> Iterator[DeadLetter]:
    """The chosen dead letters in the order of their keys: time, partition, offset.

    An unreadable object does not stop the others: a text that names it is added to `unreadable`.
    """
    for path, suffix in _objects(store, storage.dead_letter_prefix, choice):
        try:
            rows = _rows(bytes(obstore.get(store, path).bytes()), suffix)
        except ValueError as error:
            unreadable.append(
                f"s3://{storage.bucket}/{path}: {error}; none of its messages is replayed: "
                "restore the version that the consumer wrote"
            )
        else:
            yield from filter(choice.matches, rows)


def _objects(store: ObjectStore, prefix: str, choice: Filter) -> Iterator[tuple[str, Suffix]]:
    """Paths of the objects that may hold chosen rows."""
    offset = f"{prefix}{choice.since:%Y/%m/%d}" if choice.since else None
    for chunk in obstore.list(store, prefix=prefix, offset=offset):
        for path in (entry["path"] for entry in chunk):
            key = parse_key(path)
            if key is None:
                continue
            if choice.until is not None and key.time.date() > choice.until:
                return  # keys sort by day
            if key.kind == "dead_letter" and choice.matches_key(key):
                yield path, key.suffix


def _rows(content: bytes, suffix: Suffix) -> list[DeadLetter]:
    """The dead letters of an object.

    Raises:
        ValueError: it is not a dead-letter object, or holds invalid base64.
    """
    return [DeadLetter.from_row(row) for row in CODECS[suffix].decode(content)]


def dead_letter_id(dead_letter: DeadLetter) -> str:
    """The place of the rejected message, topic/partition/offset; it is also the value of the replay header."""
    return f"{dead_letter.topic}/{dead_letter.partition}/{dead_letter.offset}"


def summary(dead_letter: DeadLetter, width: int = 80) -> tuple[str, str, str, str]:
    """A row of a listing: id, time, class, and the first `width` characters of error text and payload."""
    time = instant(dead_letter.timestamp).isoformat(timespec="seconds")
    payload = (dead_letter.payload or b"").decode(errors="backslashreplace")
    return dead_letter_id(dead_letter), time, dead_letter.error_class, f"{dead_letter.error} | {payload}"[:width]
