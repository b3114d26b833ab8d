"""The audit of one day, and of all days that are due. The clients are handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from msgspec.structs import replace

from include.audit import accounting
from include.audit.bucket import AuditBucket
from include.audit.layers import LayerReport
from include.audit.manifest import (
    FIRST,
    VERSION,
    DataObject,
    DeadLetterObject,
    Finding,
    KafkaOffsets,
    Manifest,
    ManifestError,
    root_of,
)
from include.audit.objects import Landed, Listed, Reading, check_pair
from include.landing.contract import Contract
from include.landing.metadata import MetadataError

DAYS_AGAIN = 7
"""Days before the newest manifest whose objects each run compares with their manifests, by listings only."""
MOST_DAYS = 31
"""New days in one run, so that the first audit of an old bucket is done in parts of some minutes."""


class AuditError(RuntimeError):
    """The day cannot be audited; the text says what to do."""


@dataclass(frozen=True, slots=True)
class DayResult:
    """The audit of one day. `root` is None while the day has no manifest; `still_open` are then the partitions why."""

    day: date
    root: str | None
    written: bool
    objects: int
    read: int
    findings: tuple[Finding, ...]
    still_open: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One run: its days in order, and findings that belong to no day."""

    days: tuple[DayResult, ...]
    findings: tuple[Finding, ...] = ()

    def all_findings(self) -> list[Finding]:
        """Each finding once."""
        return list(dict.fromkeys([*self.findings, *(finding for day in self.days for finding in day.findings)]))


@dataclass(frozen=True, slots=True)
class Auditor:
    """Audits days. `kafka` is None if Kafka is not asked; `layers` counts a day's rows, None without a warehouse."""

    bucket: AuditBucket
    contract: Contract | None
    kafka: Mapping[int, KafkaOffsets] | None
    layers: Callable[[Manifest], LayerReport] | None
    now: datetime

    def run(self) -> Result:
        """Audit the days that are closed and have no manifest yet, and compare the days before with theirs."""
        audited, yesterday = self.bucket.audited_days(), self.now.date() - timedelta(days=1)
        first = audited[-1] + timedelta(days=1) if audited else min(self.bucket.days(), default=self.now.date())
        new = [first + timedelta(days=age) for age in range(min((yesterday - first).days + 1, MOST_DAYS))]
        results = [self.day(day) for day in audited[-DAYS_AGAIN:]]
        for day in new:
            results.append(self.day(day))
            if results[-1].root is None:
                break  # the chain goes on when this day is closed
        return Result(tuple(results), tuple(self.commits()))

    def day(self, day: date, *, deep: bool = False, again: bool = False) -> DayResult:
        """Audit one day. `deep` reads every object again; `again` replaces the manifest and those of later days.

        Raises:
            AuditError: the day has not ended.
        """
        if day >= self.now.date():
            raise AuditError(f"{day} has not ended (UTC): its manifest can be made from tomorrow on")
        try:
            stored = None if again else self.bucket.manifest(day)
            before = self.bucket.manifest(day - timedelta(days=1))
        except ManifestError as error:
            return DayResult(day, None, False, 0, 0, (Finding("chain", str(error)),))
        listed, findings = self.bucket.listed(day)
        findings += self.bucket.strangers(day)
        entries, read = self._entries(listed, stored[0] if stored else None, findings, deep=deep)
        ends = before[0].ends() if before else {}
        data = sorted((item for item in entries.values() if isinstance(item, DataObject)), key=_key)
        letters = sorted((item for item in entries.values() if isinstance(item, DeadLetterObject)), key=_key)
        accounts = accounting.add_up(data, letters, ends, self.kafka or {})
        if stored:
            return self._compared(day, stored, before, entries, findings, accounts, read, deep=deep)
        still_open = self._still_open(day, accounts)
        manifest = self._manifest(day, before, data, letters, accounts)
        report = self.layers(manifest) if self.layers and not still_open else None
        if still_open:  # what lands later fills these
            findings = [finding for finding in findings if finding.kind != "missing"]
        else:
            findings += [*accounts.findings, *(report.findings if report else ())]
        manifest = replace(manifest, findings=tuple(findings), layers=report.totals if report else None)
        audited = self.bucket.audited_days()
        chained = before is not None or not audited or (again and day == audited[0])
        if still_open or not chained:
            return DayResult(day, None, False, len(listed), read, tuple(findings), tuple(still_open))
        root = self._write(manifest, again=again)
        return DayResult(day, root, True, len(listed), read, tuple(findings))

    def _entries(
        self, listed: Sequence[Listed], stored: Manifest | None, findings: list[Finding], *, deep: bool
    ) -> tuple[dict[str, Landed], int]:
        """The entry of each listed object, from the manifest if S3 lists it unchanged, else read. Also how many read.

        Objects with a finding in the manifest are read again, so that the finding is made again.
        """
        known: dict[str, Landed] = {}
        if stored and not deep:
            suspects = {finding.key for finding in stored.findings}
            known = {item.key: item for item in stored.landed() if item.key not in suspects}
        same = {
            item.key for item in listed
            if (entry := known.get(item.key)) and _facts(entry) == (item.etag, item.size, item.modified)
        }  # fmt: skip
        topic_id = self.contract.topic_id if self.contract else None
        readings = {
            reading.entry.key: reading
            for reading in self.bucket.read([item for item in listed if item.key not in same], topic_id)
        }
        findings += [finding for reading in readings.values() for finding in reading.findings]
        findings += _pairs(listed, readings, known)
        entries: dict[str, Landed] = {key: known[key] for key in same}
        return entries | {key: reading.entry for key, reading in readings.items()}, len(readings)

    def _compared(
        self, day: date, stored: tuple[Manifest, str], before: tuple[Manifest, str] | None,
        entries: dict[str, Landed], findings: list[Finding], accounts: accounting.Accounts, read: int, *, deep: bool,
    ) -> DayResult:  # fmt: skip
        """The result of a day that has a manifest: how the bucket differs from it.

        The layers are counted again only if the manifest names a lost row, or if every object is read again.
        """
        manifest, root = stored
        changes, explained = accounting.changes(manifest, entries)
        findings += [*changes, *accounting.unexplained(accounts.findings, explained)]
        lost = [finding for finding in manifest.findings if finding.kind == "lost"]
        if self.layers and (lost or deep):
            lost = list(self.layers(manifest).findings)
        findings += lost
        expected = before[1] if before else FIRST
        if expected != manifest.previous:
            text = f"the manifest of {manifest.day} names {manifest.previous} as the root of the day before"
            there = f"which has the root {expected}" if before else "which has no manifest"
            findings.append(Finding("chain", f"{text}, {there}"))
        unique = tuple(dict.fromkeys(findings))
        return DayResult(day, root, False, len(entries), read, unique)

    def _still_open(self, day: date, accounts: accounting.Accounts) -> list[int]:
        later, _ = self.bucket.after(day, self.now.date())
        return accounting.open_partitions(self.kafka, (part.partition for part in accounts.partitions), later)

    def _manifest(
        self, day: date, before: tuple[Manifest, str] | None, data: list[DataObject], letters: list[DeadLetterObject],
        accounts: accounting.Accounts,
    ) -> Manifest:  # fmt: skip
        storage, contract = self.bucket.storage, self.contract
        return Manifest(
            version=VERSION,
            day=day.isoformat(),
            topic=contract.topic if contract else "",
            topic_id=contract.topic_id if contract else "",
            data_prefix=storage.data_prefix,
            dead_letter_prefix=storage.dead_letter_prefix,
            audited_at=self.now,
            previous=before[1] if before else FIRST,
            partitions=accounts.partitions,
            objects=tuple(data),
            dead_letters=tuple(letters),
            rejects=accounts.rejects,
            gaps=accounts.gaps,
            layers=None,
        )

    def _write(self, manifest: Manifest, *, again: bool) -> str:
        """Write the manifest and, if it replaces one, chain those of later days to it. Returns its root."""
        day, old = date.fromisoformat(manifest.day), None
        if again:
            old = self.bucket.manifest(day)
            manifest = replace(manifest, replaces=old[1] if old else "")
        self.bucket.write(manifest, again=again)
        root = root_of(manifest)
        previous = root
        while old and (later := self.bucket.manifest(day := day + timedelta(days=1))):
            rechained = replace(later[0], previous=previous, replaces=later[1])
            self.bucket.write(rechained, again=True)
            previous = root_of(rechained)
        return root

    def commits(self) -> list[Finding]:
        """The commits that are after what is landed until now."""
        if self.kafka is None:
            return []
        audited = self.bucket.audited_days()
        since = audited[-1] if audited else self.now.date() - timedelta(days=MOST_DAYS)
        stored = self.bucket.manifest(since) if audited else None
        ends = stored[0].ends() if stored else {}
        try:
            last = self.bucket.last_offsets(self.bucket.after(since, self.now.date())[1])
        except MetadataError as error:
            return [Finding("broken", str(error))]
        ends |= {number: max(ends.get(number, 0), offset + 1) for number, offset in last.items()}
        return accounting.beyond_landed(ends, self.kafka)


def _key(item: Landed) -> str:
    return item.key


def _facts(entry: Landed) -> tuple[str, int, datetime]:
    return entry.etag, entry.size, entry.modified


def _pairs(listed: Sequence[Listed], readings: Mapping[str, Reading], known: Mapping[str, Landed]) -> list[Finding]:
    """The faults of each data object and its dead letters together, if one of the two was read."""
    letters: dict[tuple[int, int], Listed] = {}
    data = [item for item in listed if item.name.kind == "crypto_data"]
    for item in listed:
        if item.name.kind == "dead_letter":
            letters[item.name.partition, item.name.first_offset] = item
    findings: list[Finding] = []
    for item in data:
        letter = letters.get((item.name.partition, item.name.first_offset))
        reading, own = readings.get(item.key), readings.get(letter.key) if letter else None
        if reading is None and own is None:
            continue
        if letter and own is None and letter.key in known:
            own = Reading(known[letter.key], None, None, ())
        findings += check_pair(item, reading, own)
    alone = {(item.name.partition, item.name.first_offset) for item in data}
    for place, item in letters.items():
        if place not in alone and item.key in readings:
            findings += check_pair(item, None, readings[item.key])
    return findings
