"""Which dead letters an operator chooses, and how they are listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import obstore
from obstore.store import ObjectStore

from include.landing.codec import CODECS, Suffix
from include.landing.dead_letter import DeadLetter
from include.landing.layout import ObjectKey, parse_key
from include.settings import StorageSettings


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters: days are inclusive and those of the Kafka timestamp (UTC); None means any."""

    since: date | None = None
    until: date | None = None
    error_class: str | None = None
    partition: int | None = None
    offset: int | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a row is chosen. Gaps hold no message and never are."""
        return (
            letter.error_class != "gap"
            and self.error_class in (None, letter.error_class)
            and self.partition in (None, letter.partition)
            and self.offset in (None, letter.offset)
        )

    def takes_key(self, key: ObjectKey) -> bool:
        """Whether an object is read at all."""
        day = key.time.date()
        return (
            (self.since is None or day >= self.since)
            and (self.until is None or day <= self.until)
            and self.partition in (None, key.partition)
        )


def letters(
    store: ObjectStore, storage: StorageSettings, chosen: Filter, unreadable: list[str]
) -> Iterator[DeadLetter]:
    """The chosen dead letters, by day, then partition and offset as the keys sort.

    An object that is none is named in `unreadable`: it keeps nobody from the others.
    """
    prefix = storage.dead_letter_prefix
    offset = f"{prefix}{chosen.since:%Y/%m/%d}" if chosen.since else None
    for chunk in obstore.list(store, prefix=prefix, offset=offset):
        for entry in chunk:
            key = parse_key(entry["path"])
            if key is None or key.kind != "dead_letter" or not chosen.takes_key(key):
                if key is not None and chosen.until is not None and key.time.date() > chosen.until:
                    return  # keys sort by day
                continue
            try:
                rows = _rows(bytes(obstore.get(store, entry["path"]).bytes()), key.suffix)
            except ValueError as error:
                unreadable.append(
                    f"s3://{storage.bucket}/{entry['path']}: {error}; none of its messages is replayed: "
                    "restore the version that the consumer wrote"
                )
                continue
            yield from filter(chosen.takes, rows)


def _rows(content: bytes, suffix: Suffix) -> list[DeadLetter]:
    """The dead letters of an object.

    Raises:
        ValueError: it is no dead-letter object, or its base64 is none.
    """
    rows = [DeadLetter.from_row(row) for row in CODECS[suffix].decode(content)]
    for row in rows:
        row.payload_bytes(), row.key_bytes(), row.header_pairs()
    return rows


def letter_id(letter: DeadLetter) -> str:
    """Where a letter came from, as its replay header says."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


def table(chosen: Sequence[DeadLetter], width: int = 80) -> list[tuple[str, str, str, str]]:
    """Rows for a listing: place, time, class and the beginning of text and payload."""
    rows: list[tuple[str, str, str, str]] = []
    for letter in chosen:
        time = datetime.fromtimestamp(letter.timestamp / 1000, UTC).isoformat(timespec="seconds")
        payload = (letter.payload_bytes() or b"").decode(errors="backslashreplace")
        rows.append((letter_id(letter), time, letter.error_class, f"{letter.error} | {payload}"[:width]))
    return rows
