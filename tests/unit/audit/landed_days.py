"""A bucket of three days as the consumer writes it, for the tests of the audit and of `verify.py`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore

from include.audit.bucket import AuditBucket
from include.audit.manifest import KafkaOffsets
from include.audit.run import Auditor
from include.landing import body, layout
from include.landing.contract import CellSize, Contract
from include.landing.dead_letter import DeadLetter, gap, rejected_message
from include.landing.metadata import ObjectMetadata
from include.settings import StorageSettings
from tests.unit.ingest.memory_bucket import Bucket

TOPIC, TOPIC_ID = "selected_crypto_data", "abc"
DAY = date(2026, 11, 23)
BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)
NOW = datetime(2026, 11, 24, 3, 40, tzinfo=UTC)
CONTRACT = Contract("cluster", TOPIC, TOPIC_ID, ".json", "read_committed", (CellSize(10, {}),))
STORAGE = StorageSettings(bucket="bucket")


def quote(offset: int) -> bytes:
    return b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":%d.5,"last_updated":"2026-11-23T20:15:07Z"}' % offset


def time_of(day: date, offset: int) -> int:
    """Kafka's time (ms) of an offset: a second apart, from noon on."""
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1000) + 1000 * offset


class LandedDays:
    """Two partitions; each has a rejected message, and partition 1 a hole and a gap that `adopt` wrote."""

    def __init__(self, store: Any = None, storage: StorageSettings = STORAGE) -> None:
        """In memory, unless another store is given."""
        self.store: Any = Bucket() if store is None else store
        self.storage = storage
        self.end: dict[int, int] = {}
        for partition in (0, 1):
            self.land(BEFORE, partition, 0, 9)
            self.land(DAY, partition, 10, 19)
            self.land(DAY, partition, 20, 25, rejects=(22,))
            self.land(DAY, partition, 26, 29)
        self.land(DAY, 1, 33, 39, hole=3)
        self.adopt(DAY, 1, 40, 44)
        self.land(DAY, 1, 45, 49, rejects=(45, 46, 47, 48, 49))
        self.land(AFTER, 0, 30, 35)
        self.land(AFTER, 1, 50, 52)
        obstore.put(self.store, "crypto_data/_contract.json", CONTRACT.to_json())

    def key(self, day: date, partition: int, first: int, kind: layout.Kind = "crypto_data") -> str:
        return layout.object_key(f"{kind}/", kind, partition, first, time_of(day, first))

    def land(
        self, day: date, partition: int, first: int, last: int, rejects: Iterable[int] = (), hole: int = 0
    ) -> None:  # fmt: skip
        """Put the data object of offsets `first` to `last`, and its dead letters."""
        bad = sorted(rejects)
        good = [offset for offset in range(first, last + 1) if offset not in bad]
        prefix = body.PLAIN.prefix(TOPIC, partition)
        parts = [
            body.PLAIN.join(prefix, offset, [time_of(day, offset)], [quote(offset)], hole if offset == first else 0)
            for offset in good
        ]
        begin = first - hole if hole else None
        whole = (first, last, len(good), len(bad))
        metadata = ObjectMetadata(TOPIC, TOPIC_ID, partition, *whole, "w", begin)
        self.put(self.key(day, partition, first), body.PLAIN.encode(parts), metadata)
        if bad:
            letters = [self.letter(day, partition, offset).to_line() for offset in bad]
            stated = ObjectMetadata(TOPIC, TOPIC_ID, partition, first, last, 0, len(bad), "w")
            self.put(self.key(day, partition, first, "dead_letter"), body.PLAIN.encode(letters), stated)
        self.end[partition] = last + 1

    def adopt(self, day: date, partition: int, first: int, last: int) -> None:
        """Put the gap row of skipped offsets."""
        row = gap(TOPIC, partition, first, last, time_of(day, first), "given up by an operator (adopt)").to_line()
        metadata = ObjectMetadata(TOPIC, TOPIC_ID, partition, first, last, 0, 1, "adopt")
        self.put(self.key(day, partition, first, "dead_letter"), body.PLAIN.encode([row]), metadata)

    @staticmethod
    def letter(day: date, partition: int, offset: int) -> DeadLetter:
        return rejected_message(
            topic=TOPIC, partition=partition, offset=offset, timestamp=time_of(day, offset), error_class="not_json",
            error="not JSON", key=None, value=b"{", headers=None,
        )  # fmt: skip

    def put(self, key: str, content: bytes, metadata: ObjectMetadata | None) -> None:
        attributes = metadata.to_attributes() if metadata else {}
        obstore.put(self.store, key, content, attributes=attributes, mode="overwrite", use_multipart=False)

    def get(self, key: str) -> tuple[bytes, ObjectMetadata]:
        response = obstore.get(self.store, key)
        attributes = {str(name): str(value) for name, value in response.attributes.items()}
        return bytes(response.bytes()), ObjectMetadata.from_attributes(key, attributes)

    def move(self, key: str, to: str) -> None:
        self.put(to, *self.get(key))
        obstore.delete(self.store, key)

    def kafka(self) -> dict[int, KafkaOffsets]:
        """Everything is landed and committed."""
        return {number: KafkaOffsets(0, end, end) for number, end in self.end.items()}

    def auditor(self, now: datetime = NOW) -> Auditor:
        return Auditor(AuditBucket(self.store, self.storage), CONTRACT, self.kafka(), None, now)

    def copy_to(self, folder: Path) -> Path:
        """Write the bucket as files, and a listing with ETags and metadata; returns the listing."""
        lines = []
        for entry in (item for chunk in obstore.list(self.store) for item in chunk):
            response = obstore.get(self.store, entry["path"])
            path = folder / "copy" / entry["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(response.bytes()))
            metadata = {str(name): str(value) for name, value in response.attributes.items()}
            facts = {"Key": entry["path"], "ETag": f'"{entry["e_tag"]}"', "Metadata": metadata}
            lines.append(json.dumps(facts))
        listing = folder / "listing.jsonl"
        listing.write_text("\n".join(lines))
        return listing
