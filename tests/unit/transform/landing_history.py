"""A pipeline whose history a test makes up: landings, runs and faults.

The gate is the real one, over a bucket in memory. Bronze is a model of one rule: it loads the files of the offered
hours that its table lacks, in one transaction. Kafka's clocks jump, partitions fall silent, start late, and land out of
order. Tasks are killed before and after bronze's commit, and a killed attempt's query may commit later.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import obstore

from include.landing.layout import object_key, parse_key
from include.settings import StorageSettings
from include.transform import gate
from tests.compatibility.bucket import S3, Bucket

START = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)
STORAGE = StorageSettings(bucket="lake")
JUMPS = [timedelta(0)] * 12 + [timedelta(days=1), timedelta(hours=5), -timedelta(hours=7), -timedelta(days=3)]
"""A broker's clock: mostly right."""


@dataclass
class Pipeline:
    """A topic, its bucket, bronze's table, and the runs."""

    random: random.Random
    now: datetime = START
    bucket: Bucket = field(default_factory=Bucket)
    landed: set[str] = field(default_factory=set)
    in_flight: list[str] = field(default_factory=list)
    table: Counter[str] = field(default_factory=Counter)
    offsets: Counter[int] = field(default_factory=Counter)
    runs: int = 0
    idle_runs: int = 0

    def wait(self) -> None:
        """Minutes to hours pass."""
        self.now += timedelta(minutes=self.random.choice([1, 5, 15, 15, 60, 400]))

    def send(self) -> None:
        """A batch of a partition is sent to S3; it may be old, because its consumer lags."""
        partition = self.random.choices(range(5), [5, 5, 3, 1, 0.3])[0]
        lag = self.random.choice([timedelta(0)] * 6 + [timedelta(hours=4), timedelta(days=6)])
        at = self.now - lag + self.random.choice(JUMPS)
        offset = self.offsets[partition]
        self.offsets[partition] += self.random.randint(1, 100)
        kind, prefix = self.random.choice([("crypto_data", "crypto_data/")] * 5 + [("dead_letter", "dead_letter/")])
        self.in_flight.append(object_key(prefix, kind, partition, offset, round(at.timestamp() * 1000)))  # type: ignore[arg-type]

    def land(self) -> None:
        """One of the batches on their way arrives, not always the oldest."""
        if self.in_flight:
            key = self.in_flight.pop(self.random.randrange(len(self.in_flight)))
            obstore.put(self.bucket, key, b"[]")
            self.landed.add(key)

    def load(self, offer: str) -> None:
        """Bronze: the offered files that the table lacks."""
        for key in sorted(self.landed):
            hour = gate.hour_of(parse_key(key))  # type: ignore[arg-type]
            if any(first <= hour <= last for first, last in (span.split("..") for span in offer.split())):
                self.table[key] += not self.table[key]

    def run(self) -> None:
        """A run of the DAG with the fault of this moment."""
        s3 = S3(self.bucket)
        found = gate.look(s3, STORAGE, self.now)  # type: ignore[arg-type]
        fault = self.random.choice(["none"] * 4 + ["killed before", "killed after", "retried"])
        if not found.is_new or fault == "killed before":
            return
        self.runs += 1
        loaded, offer = +self.table, gate.ranges(found.hours)
        self.land()  # after the gate has looked
        self.load(offer)
        self.idle_runs += self.table == loaded
        if fault == "retried":
            self.land()
            self.load(offer)
        if fault != "killed after":
            gate.write_seen(s3, STORAGE, found.seen)  # type: ignore[arg-type]
            gate.write_offered(s3, STORAGE, found.offered)  # type: ignore[arg-type]

    def finish(self) -> None:
        """Everything lands, and two runs succeed: one now, one in the next hour."""
        while self.in_flight:
            self.land()
        for _ in range(2):
            found = gate.look(S3(self.bucket), STORAGE, self.now)  # type: ignore[arg-type]
            self.load(gate.ranges(found.hours))
            gate.write_seen(S3(self.bucket), STORAGE, found.seen)  # type: ignore[arg-type]
            gate.write_offered(S3(self.bucket), STORAGE, found.offered)  # type: ignore[arg-type]
            self.now += timedelta(hours=1)
