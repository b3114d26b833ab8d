"""Where one record is: in which object and line, in which layers; or why it is not there.

It asks the warehouse first, which knows the object of each loaded record. Else Kafka says which keys the record's
object can have: a key follows from the first record of a batch. Else a manifest has the object. Each way needs at most
three requests to S3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import obstore
from obstore.exceptions import NotFoundError

from include.audit.bucket import AuditBucket
from include.audit.manifest import DataObject, DeadLetterObject
from include.audit.queries import Placed, Query, QuotePlace
from include.audit.record_log import Log, LogEntry
from include.ingest.quote import InvalidQuoteError, validate
from include.ingest.replay.replay import Marker
from include.instants import to_second
from include.landing.codec import CODECS
from include.landing.layout import object_key, parse_key
from include.settings import StorageSettings

if TYPE_CHECKING:
    from obstore.store import S3Store

MOST_LISTED = 1000
"""Keys in one page of a listing, S3's limit."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The answer for one offset.

    `kind` is crypto_data, dead_letter, hole (no record, named by a row) or gap (skipped, named by a row); empty if the
    offset is not in the bucket, and `why` says why. `line` counts from 1.
    """

    partition: int
    offset: int
    kind: str = ""
    key: str = ""
    line: int = 0
    landed_at: datetime | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[Placed, ...] | None = None
    replayed: str = ""
    why: str = ""
    requests: int = 0

    def text(self, bucket: str) -> str:
        """The answer for a person."""
        lines = [f"partition {self.partition}, offset {self.offset}"]
        if self.key:
            since = f", since {to_second(self.landed_at)}" if self.landed_at else ""
            lines.append(f"object: s3://{bucket}/{self.key}, line {self.line}{since}")
        if self.kind == "dead_letter":
            lines.append(f"rejected: {self.row.get('error_class')}: {self.row.get('error')}")
            lines.append(f"replayed: {self.replayed or 'no'}")
        elif self.kind == "gap":
            lines.append(f"gap: {self.row.get('error')}")
        elif self.kind == "hole":
            lines.append("hole: no record (transaction marker, or aborted transaction); this line names it")
        elif self.kind:
            lines.append(f"record: {msgspec.json.encode(self.row).decode()}")
        lines += self._in_layers()
        return "\n".join([*lines, *([f"why: {self.why}"] if self.why else []), f"requests to S3: {self.requests}"])

    def _in_layers(self) -> list[str]:
        if self.layers is None:
            return ["layers: not asked (--without-layers), or no warehouse answers"]
        words = {"quarantine": "rule {found}", "gold": "hour {found}", "silver": "quote {found}"}
        lines = [
            f"{item.layer}: {words.get(item.layer, 'yes').format(found=item.found)}, since {item.since}"
            for item in self.layers
        ]
        there = {item.layer for item in self.layers}
        if self.kind == "crypto_data" and "bronze" not in there:
            lines.append("bronze: not built yet; the next run of crypto_transform loads it")
        elif "bronze" in there and not there & {"silver", "quarantine"}:
            lines.append("silver: not built yet; the next run of crypto_transform loads it")
        elif "silver" in there and "gold" not in there:
            lines.append("gold: not built yet; the next run of crypto_transform loads it")
        return lines


class Where:
    """Answers for single offsets. `log` reads Kafka, `query` the warehouse; None without them."""

    def __init__(
        self, store: S3Store, storage: StorageSettings, log: Log | None, query: Query | None, max_message_bytes: int
    ) -> None:
        self._store = store
        self._storage = storage
        self._bucket = AuditBucket(store, storage)
        self._log = log
        self._query = query
        self._max_bytes = max_message_bytes
        self._requests = 0

    def find(self, partition: int, offset: int) -> Whereabouts:
        """Where the record is.

        Raises:
            InlineQueryError, KafkaException, obstore.exceptions.BaseError: a source does not answer.
        """
        self._requests = 0
        answer = Whereabouts(partition, offset)
        if self._query:
            placed = tuple(self._query(f"audit_record({partition}, {offset})", Placed))
            answer = replace(answer, layers=placed)
            files = [item.found for item in placed if item.layer in ("bronze", "dead_letter")]
            answer = self._in_objects(answer, [path.removeprefix(f"s3://{self._storage.bucket}/") for path in files])
        if not answer.kind and self._log:
            answer = self._by_kafka(answer, self._log.entry(partition, offset))
        if not answer.kind and (not answer.why or self._log is None):
            answer = self._by_manifest(answer)
        return self._with_replay(answer)

    def quotes(self, symbol: str, moment: datetime) -> list[tuple[int, int]]:
        """Partition and offset of a coin's quotes with this time, to the second."""
        if self._query is None:
            return []
        second = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        rows = self._query(f"audit_quotes('{symbol.upper()}', '{second}')", QuotePlace)
        return [(row.part, row.kafka_offset) for row in rows]

    # --- the three ways ------------------------------------------------------------

    def _by_kafka(self, answer: Whereabouts, entry: LogEntry) -> Whereabouts:
        """By the keys that the object can have: one for each record from the earliest begin of the batch on."""
        if answer.offset < entry.begin:
            return answer  # Kafka has deleted it
        if answer.offset >= entry.end:
            return replace(answer, why=f"it is not on the topic yet: the partition ends at offset {entry.end}")
        if entry.record is None:
            text = "no committed record is at or after it: a transaction is open, or it is a hole at the log's end"
            return replace(answer, why=text)
        keys = {
            object_key(self._storage.data_prefix, "crypto_data", answer.partition, offset, time, suffix): offset
            for offset, time in entry.times.items()
            for suffix in CODECS
        }
        key = self._owner(keys)
        if key is None:
            text = f"it is on the topic since {_instant(entry.times[entry.record])} and not landed yet"
            return replace(answer, why=text)
        letters = self._dead_letters_of(key)
        order = [letters, key] if self._is_rejected(entry) else [key, letters]
        found = self._in_objects(answer, order)
        why = f"{key} does not have it, nor do its dead letters: run the audit"
        return found if found.kind else replace(answer, why=why)

    def _owner(self, keys: Mapping[str, int]) -> str | None:
        """The listed key with the greatest first offset; one page of the listing, unless very many objects begin."""
        least, greatest = min(keys), max(keys)
        listed = [key for key in self._list(least[:-1], greatest) if key in keys]
        return max(listed, key=lambda key: keys[key], default=None)

    def _list(self, after: str, until: str) -> list[str]:
        self._requests += 1
        paths: list[str] = []
        for chunk in obstore.list(self._store, self._storage.data_prefix, offset=after, chunk_size=MOST_LISTED):
            paths += [entry["path"] for entry in chunk]
            if paths and paths[-1] > until:
                break
        return [path for path in paths if path <= until]

    def _is_rejected(self, entry: LogEntry) -> bool:
        try:
            validate(entry.value, self._max_bytes)
        except InvalidQuoteError:
            return True
        return False

    def _dead_letters_of(self, key: str) -> str:
        name = key.removeprefix(self._storage.data_prefix).replace("crypto_data_", "dead_letter_", 1)
        return f"{self._storage.dead_letter_prefix}{name}"

    def _by_manifest(self, answer: Whereabouts) -> Whereabouts:
        self._requests += 1
        days = [
            day for day, facts in self._bucket.index().items()
            if answer.partition in facts.offsets
            and facts.offsets[answer.partition][0] <= answer.offset < facts.offsets[answer.partition][1]
        ]  # fmt: skip
        if not days:
            text = "Kafka does not have it any more, and no manifest has it: it was deleted before it was landed, or "
            return replace(answer, why=f"{text}before the first audit")
        self._requests += 1
        stored = self._bucket.manifest(date.fromisoformat(days[0]))
        keys = [item.key for item in stored[0].landed() if _covers(item, answer)] if stored else []
        found = self._in_objects(answer, keys)
        return found if found.kind else replace(answer, why=f"the manifest of {days[0]} names {keys}: run the audit")

    # --- objects ---------------------------------------------------------------------

    def _in_objects(self, answer: Whereabouts, keys: Sequence[str]) -> Whereabouts:
        """The answer with the first of these objects that has the offset; unchanged if none has it."""
        for key in keys:
            self._requests += 1
            try:
                response = obstore.get(self._store, key)
            except (NotFoundError, FileNotFoundError):
                continue
            name = parse_key(key)
            rows = CODECS[name.suffix].decode(bytes(response.bytes())) if name else []
            for number, row in enumerate(rows):
                kind = _kind(row, answer.offset)
                if kind:
                    at = response.meta["last_modified"]
                    return replace(answer, kind=kind, key=key, line=number + 2, landed_at=at, row=row)
        return answer

    def _with_replay(self, answer: Whereabouts) -> Whereabouts:
        if answer.kind == "dead_letter":
            self._requests += 1
            key = f"{self._storage.state_prefix}replayed/p{answer.partition:05d}_o{answer.offset:020d}.json"
            try:
                marker = msgspec.json.decode(bytes(obstore.get(self._store, key).bytes()), type=Marker)
            except (NotFoundError, FileNotFoundError):
                marker = None
            if marker is not None:
                at = marker.replayed_at
                replayed = f"at {to_second(at)}" if at else f"claimed at {to_second(marker.claimed_at)}, not sent yet"
                answer = replace(answer, replayed=replayed)
        return replace(answer, requests=self._requests)


def _kind(row: Mapping[str, Any], offset: int) -> str:
    """What a row says of the offset; empty if nothing."""
    own = int(row["_offset"])
    if "error_class" in row and "last_offset" in row and "rejected_at" in row:
        if row["error_class"] == "gap":
            return "gap" if own <= offset <= int(row["last_offset"]) else ""
        return "dead_letter" if own == offset else ""
    if own == offset:
        return "crypto_data"
    return "hole" if own - int(row.get("_hole", 0)) <= offset < own else ""


def _covers(item: DataObject | DeadLetterObject, answer: Whereabouts) -> bool:
    name = parse_key(item.key)
    if name is None or name.partition != answer.partition:
        return False
    ranges = item.ranges if isinstance(item, DataObject) else [(row[0], row[1]) for row in item.rows]
    return any(first <= answer.offset <= last for first, last in ranges)


def _instant(milliseconds: int) -> str:
    return to_second(datetime.fromtimestamp(milliseconds / 1000, UTC))
