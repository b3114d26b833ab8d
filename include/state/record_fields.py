"""The fields of bronze's newest records, and those beyond the message's contract: a part of bronze's layer state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from include.instants import Instant

Drift = Literal["new", "retyped", "vanished"]

CHANCE = 1e-6
"""A field is gone if its absence from so many records has less than this probability. With 1 of 3 records, as a field
of one coin has, 34 records are needed; with each of 1,000, two."""


class Place(msgspec.Struct, frozen=True, order=True):
    """A record's time and place in Kafka."""

    at: Instant
    partition: int
    offset: int


class FieldSet(msgspec.Struct, frozen=True):
    """The names of all fields that some records have; how many records have them, and the first of these."""

    fields: tuple[str, ...]
    records: int
    first: Place


class ExtraField(msgspec.Struct, frozen=True):
    """A field beyond the contract.

    `since` has the first record of each JSON type that was seen. `counts` are the records by JSON type in the newest
    load with the field, `records` all records of that load, and `seen_at` is its time. `known` is the JSON type by the
    variables of the dbt project, `any`, or '' for an unknown field. `missing_records` and `missing_loads` came later
    and have no such field. `example` is a value, cut.
    """

    since: Mapping[str, Place]
    counts: Mapping[str, int]
    records: int
    seen_at: Instant
    example: str
    known: str = ""
    missing_records: int = 0
    missing_loads: int = 0

    @property
    def share(self) -> float:
        """Share of the records with the field in the newest load that has it, in percent."""
        return 100 * sum(self.counts.values()) / self.records

    @property
    def is_gone(self) -> bool:
        """Whether the field is absent from more records than chance explains."""
        absent = 1 - sum(self.counts.values()) / (self.records + 1)
        return self.missing_records * math.log(absent) < math.log(CHANCE)

    @property
    def wrong_types(self) -> tuple[str, ...]:
        """The types of the newest load that a known field should not have; null fits each."""
        fitting = {"null", self.known}
        return () if self.known in ("", "any") else tuple(sorted(self.counts.keys() - fitting))

    @property
    def drift(self) -> Drift | None:
        """The kind of difference from what the project knows; None without any."""
        if not self.known:
            return "new"
        if self.is_gone:
            return "vanished"
        return "retyped" if self.wrong_types else None

    @property
    def began_at(self) -> Instant:
        """The first evidence of the drift: the first record with the field or the type, or the last load with it."""
        if self.drift == "vanished":
            return self.seen_at
        first = min(place.at for place in self.since.values())
        return min((self.since[name].at for name in self.wrong_types), default=first)


class RecordFields(msgspec.Struct, frozen=True):
    """What the newest look at bronze's new records found.

    `loaded_until` is the newest load that was looked at, `records` the number of records of the look, and `sets` their
    most frequent sets of names. `extra` has the fields beyond the contract. `unlisted` is the number of further ones.
    """

    loaded_until: Instant
    records: int
    sets: tuple[FieldSet, ...]
    extra: Mapping[str, ExtraField]
    unlisted: int = 0

    @property
    def drifting(self) -> dict[str, ExtraField]:
        """The fields that are not as the project knows them, by name."""
        return {name: field for name, field in self.extra.items() if field.drift}
