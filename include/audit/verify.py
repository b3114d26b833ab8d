#!/usr/bin/env python3
"""Repeats the audit of Crypto Lakehouse on a copy of the bucket, without a line of the code that wrote it.

    aws s3 sync s3://BUCKET/ COPY/          # crypto_data/, dead_letter/ and audit/ are enough
    python3 verify.py COPY                  # every day that has a manifest
    python3 verify.py COPY --day 2026-11-23 --root 5f0c...

It needs Python 3.9 or later and nothing else. docs/audit.md describes the format. For each manifest it

1. computes the root again, from the manifest's own text;
2. compares `previous` with the root of the day before;
3. reads every object of the day, builds the manifest's lists from names and bodies alone, and computes the root of the
   manifest with these lists in place of its own: it must be the same;
4. follows the offsets of each partition through the rows: each must be there once, across days too.

With `--listing FILE` it also compares ETags, and metadata if the file has them. FILE has the answers of
`aws s3api list-objects-v2` (`Contents`), or one JSON object in a line with `Key`, `ETag` and `Metadata`, as
`aws s3api head-object` answers. Exit status: 0 all is as the manifests say, 1 something is not, 2 wrong use.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sys
import zlib
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Iterator  # noqa: UP035 - Python 3.9

FIRST_PREVIOUS = "0" * 64
LAST_TIME = 253_402_300_799_999
"""The end of the year 9999 in ms: the greatest time that a name can show."""
NAME = re.compile(
    r"^(?P<day>\d{4}/\d\d/\d\d)/(?P<kind>crypto_data|dead_letter)_(?P<time>\d\d-\d\d-\d\d)"
    r"_p(?P<partition>\d{5,})_o(?P<offset>\d{20})\.json(?P<gz>\.gz)?$"
)
Fields = dict[str, Any]
Piece = tuple[int, int, str]
"""First offset, last offset, key."""


class Report:
    """Collects what is wrong, each text once, in order."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def __call__(self, text: str) -> None:
        """Add a text."""
        if text not in self.problems:
            self.problems.append(text)


def canonical(fields: Fields) -> bytes:
    """JSON with sorted names and without spaces."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def root_of(fields: Fields) -> str:
    """SHA-256 of the canonical JSON of everything but the root."""
    return hashlib.sha256(canonical({name: value for name, value in fields.items() if name != "root"})).hexdigest()


class Read:
    """One object of the copy: its entry as a manifest has it, its pieces, and the times of its rows by offset."""

    def __init__(self, key: str, name: dict[str, str], body: bytes, report: Report) -> None:
        self.key = key
        self.kind = name["kind"]
        self.partition = int(name["partition"])
        self.first = int(name["offset"])
        self.at = f"{name['day']} {name['time']}"
        self.rows = self._rows(body, bool(name["gz"]), report)
        self.times = {row["_offset"]: row["_timestamp"] for row in self.rows}
        self.entry: Fields = {"key": key, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        if self.kind == "crypto_data":
            spans = sorted((row["_offset"] - row.get("_hole", 0), row["_offset"]) for row in self.rows)
            ranges = joined(spans)
            self.pieces = [(first, last, key) for first, last in ranges]
            self.entry["records"] = len(self.rows)
            self.entry["holes"] = sum(row.get("_hole", 0) for row in self.rows)
            self.entry["ranges"] = [list(part) for part in ranges]
        else:
            letters = sorted(letter_of(row) for row in self.rows)
            self.pieces = [(row[0], row[1], key) for row in letters]
            self.entry["rows"] = [list(row) for row in letters]

    def _rows(self, body: bytes, compressed: bool, report: Report) -> list[Fields]:
        try:
            rows = json.loads(gzip.decompress(body) if compressed else body)
            good = isinstance(rows, list) and all(is_row(row, self.kind) for row in rows)
        except (ValueError, OSError, EOFError, zlib.error, RecursionError) as error:
            report(f"broken: {self.key}: {error}")
            return []
        if not good:
            report(f"broken: {self.key}: its body is not an array of rows with their place in Kafka")
            return []
        own = [row for row in rows if row["_partition"] == self.partition]
        if len(own) != len(rows):
            report(f"misfiled: {self.key}: it has rows of another partition than its name")
        return own


def is_row(row: object, kind: str) -> bool:
    """Whether a value has the fields of a row that are used here."""
    if not isinstance(row, dict):
        return False
    numbers = [row.get(name) for name in ("_partition", "_offset", "_timestamp")] + [row.get("_hole", 0)]
    if not all(type(number) is int for number in numbers):
        return False
    return kind == "crypto_data" or (type(row.get("last_offset")) is int and isinstance(row.get("error_class"), str))


def letter_of(row: Fields) -> tuple[int, int, str, str]:
    """A dead letter as a manifest has it."""
    reason = str(row.get("error", "")) if row["error_class"] == "gap" else ""
    return row["_offset"], row["last_offset"], row["error_class"], reason


def joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted ranges, with adjoining ones joined. Overlapping ones stay apart."""
    parts: list[tuple[int, int]] = []
    for first, last in spans:
        if parts and parts[-1][1] == first - 1:
            parts[-1] = (parts[-1][0], last)
        else:
            parts.append((first, last))
    return parts


class Copy:
    """The folder with the copy of the bucket, and perhaps a listing of the bucket."""

    def __init__(self, folder: Path, audit_prefix: str, listing: dict[str, Fields]) -> None:
        self.folder = folder
        self.audit = folder / audit_prefix
        self.listing = listing

    def days(self) -> list[date]:
        """The days with a manifest, in order."""
        days = []
        for path in self.audit.glob("*/*/*.json"):
            text = path.relative_to(self.audit).as_posix()[: -len(".json")]
            if re.match(r"^\d{4}/\d\d/\d\d$", text):
                days.append(date(*map(int, text.split("/"))))
        return sorted(days)

    def manifest(self, day: date) -> Fields:
        """The manifest of a day; a ValueError says why it cannot be read."""
        fields = json.loads((self.audit / f"{day:%Y/%m/%d}.json").read_bytes())
        if not isinstance(fields, dict) or fields.get("version") != 1:
            raise ValueError("it is not a manifest of version 1")
        return fields

    def objects(self, manifest: Fields, report: Report) -> list[Read]:
        """Every object in the folders of the manifest's day, in the order of keys."""
        found = []
        for kind, prefix in (("crypto_data", manifest["data_prefix"]), ("dead_letter", manifest["dead_letter_prefix"])):
            folder = self.folder / prefix / manifest["day"].replace("-", "/")
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                key = path.relative_to(self.folder).as_posix()
                name = NAME.match(key[len(prefix) :])
                if name is None or name["kind"] != kind:
                    report(f"foreign: {key}: its name is not of the landing contract")
                    continue
                found.append(Read(key, name.groupdict(), path.read_bytes(), report))
        return found

    def strangers(self, manifest: Fields, report: Report) -> None:
        """Report the objects beside the folders of years, months and days."""
        for prefix in (manifest["data_prefix"], manifest["dead_letter_prefix"]):
            year, month, _ = manifest["day"].split("-")
            for folder in (prefix, f"{prefix}{year}/", f"{prefix}{year}/{month}/"):
                place = self.folder / folder
                for path in sorted(place.iterdir()) if place.is_dir() else []:
                    if path.is_file() and f"{folder}{path.name}" != f"{manifest['data_prefix']}_contract.json":
                        report(f"foreign: {folder}{path.name}: its name is not of the landing contract")


def compare(stated: Fields, objects: list[Read], report: Report) -> None:
    """Report each object that the manifest does not have, has otherwise, or has and the copy does not."""
    entries = {item["key"]: item for item in stated["objects"] + stated["dead_letters"]}
    found = {item.key: item for item in objects}
    for key, entry in entries.items():
        if key not in found:
            report(f"missing: {key}: the manifest has it, with {entry['size']} bytes and ETag {entry['etag']}")
        else:
            own = found[key].entry
            differing = sorted(name for name in own if own[name] != entry.get(name))
            if "sha256" in differing:
                report(f"altered: {key}: its SHA-256 is {own['sha256']}, the manifest says {entry['sha256']}")
            elif differing:
                report(f"altered: {key}: its content does not have the {', '.join(differing)} of the manifest")
    for key in sorted(found.keys() - entries.keys()):
        report(f"foreign: {key}: it is not in the manifest of its day")


def rebuilt(stated: Fields, objects: list[Read], before: dict[int, int]) -> Fields:
    """The manifest with everything that follows from the objects put in place of its own.

    ETags, times, Kafka's offsets and the layers' counts are the manifest's: the copy does not have them.
    """
    facts = {item["key"]: item for item in stated["objects"] + stated["dead_letters"]}

    def entry(item: Read) -> Fields:
        known = facts.get(item.key, {})
        return {**item.entry, "etag": known.get("etag", ""), "modified": known.get("modified", "")}

    data = [item for item in objects if item.kind == "crypto_data"]
    letters = [item for item in objects if item.kind == "dead_letter"]
    rows = [(item, row) for item in letters for row in item.entry["rows"]]
    rejects: dict[str, int] = {}
    for _, row in rows:
        if row[2] != "gap":
            rejects[row[2]] = rejects.get(row[2], 0) + 1
    gaps = [
        {"partition": item.partition, "first": row[0], "last": row[1], "reason": row[3], "key": item.key}
        for item, row in rows
        if row[2] == "gap"
    ]
    return {
        **stated,
        "objects": [entry(item) for item in data],
        "dead_letters": [entry(item) for item in letters],
        "rejects": rejects,
        "gaps": gaps,
        "partitions": [partition(stated_part, data, letters, before) for stated_part in stated["partitions"]],
    }


def partition(stated: Fields, data: list[Read], letters: list[Read], before: dict[int, int]) -> Fields:
    """One partition's row with everything that follows from the objects."""
    number = stated["partition"]
    own = [item for item in data if item.partition == number]
    own_letters = [item for item in letters if item.partition == number]
    pieces = sorted(piece for item in own + own_letters for piece in item.pieces)
    begin = before.get(number, pieces[0][0] if pieces else 0)
    rows = [row for item in own_letters for row in item.entry["rows"]]
    return {
        **stated,
        "begin": begin,
        "end": max([begin, *(last + 1 for _, last, _ in pieces)]),
        "records": sum(item.entry["records"] for item in own),
        "rejected": sum(row[2] != "gap" for row in rows),
        "gaps": sum(row[1] - row[0] + 1 for row in rows if row[2] == "gap"),
        "holes": sum(item.entry["holes"] for item in own),
        "objects": len(own),
        "dead_letter_objects": len(own_letters),
    }


def follow(objects: list[Read], before: dict[int, int], report: Report) -> None:
    """Report each hole and each overlap in the offsets of the day."""
    by_partition: dict[int, list[Piece]] = {}
    for item in objects:
        by_partition.setdefault(item.partition, []).extend(item.pieces)
    for number, pieces in sorted(by_partition.items()):
        expected, previous = before.get(number), "the day before"
        for first, last, key in sorted(pieces):
            if expected is not None and first > expected:
                report(f"hole: partition {number}, offsets {expected} to {first - 1}, between {previous} and {key}")
            if expected is not None and first < expected:
                upto = min(last, expected - 1)
                report(f"doubled: {key}: partition {number}, offsets {first} to {upto} are in {previous} too")
            if expected is None or last >= expected:
                expected, previous = last + 1, key


def check_names(objects: list[Read], report: Report) -> None:
    """Report each object whose name has another time than the record that it begins with."""
    times: dict[tuple[int, int], int] = {}
    for item in objects:
        if item.first in item.times:
            times.setdefault((item.partition, item.first), item.times[item.first])
    for item in objects:
        first = times.get((item.partition, item.first))
        if first is None:
            continue
        at = datetime.fromtimestamp(min(max(first, 0), LAST_TIME) // 1000, timezone.utc)  # noqa: UP017 - Python 3.9
        if item.at != f"{at:%Y/%m/%d %H-%M-%S}":
            report(f"misfiled: {item.key}: its first record is of {at:%Y/%m/%d %H-%M-%S}")


def check_listing(stated: Fields, objects: list[Read], listing: dict[str, Fields], report: Report) -> None:
    """Compare ETags and metadata of a listing of the bucket with the manifest and with the bodies."""
    entries = {item["key"]: item for item in stated["objects"] + stated["dead_letters"]}
    letters = {(item.partition, item.first): item for item in objects if item.kind == "dead_letter"}
    for key, entry in entries.items():
        facts = listing.get(key)
        if facts is None:
            report(f"missing: {key}: the listing does not have it")
        elif "ETag" in facts and str(facts["ETag"]).strip('"') != entry["etag"]:
            report(f"altered: {key}: the listing has ETag {facts['ETag']}, the manifest {entry['etag']}")
    for item in objects:
        metadata = listing.get(item.key, {}).get("Metadata")
        if metadata is not None:
            for text in contradictions(item, {name.lower(): value for name, value in metadata.items()}, letters):
                report(f"broken: {item.key}: {text}")


def contradictions(item: Read, metadata: dict[str, str], letters: dict[tuple[int, int], Read]) -> Iterator[str]:
    """Where an object's metadata contradict its name, its rows or its dead letters."""
    letter = item if item.kind == "dead_letter" else letters.get((item.partition, item.first))
    rejected = len(letter.entry["rows"]) if letter else 0
    own: dict[str, int] = {"partition": item.partition, "first-offset": item.first, "rejected": rejected}
    if item.kind == "crypto_data":
        pieces = item.pieces + (letter.pieces if letter else [])
        own["records"] = item.entry["records"]
        if pieces:
            own["last-offset"] = max(last for _, last, _ in pieces)
            own["begin-offset"] = min(first for first, _, _ in pieces)
            if "begin-offset" not in metadata:
                metadata = {**metadata, "begin-offset": metadata.get("first-offset", "")}
    for name, value in own.items():
        if metadata.get(name) != str(value):
            yield f"its metadata say {name} {metadata.get(name)}, its content {value}"


def check_day(copy: Copy, day: date, previous: Fields | None, report: Report) -> str | None:
    """Verify one day; its root as computed from the copy, None if the manifest cannot be read."""
    try:
        stated = copy.manifest(day)
        before = {part["partition"]: part["end"] for part in previous["partitions"]} if previous else {}
        if root_of(stated) != stated["root"]:
            report(f"chain: the manifest of {day} was edited: its text has the root {root_of(stated)}")
        expected = previous["root"] if previous else FIRST_PREVIOUS
        if stated["previous"] != expected:
            report(f"chain: the manifest of {day} names {stated['previous']} as the day before, which has {expected}")
        objects = copy.objects(stated, report)
        copy.strangers(stated, report)
        compare(stated, objects, report)
        root = root_of(rebuilt(stated, objects, before))
        check_names(objects, report)
        follow(objects, before, report)
        if copy.listing:
            check_listing(stated, objects, copy.listing, report)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        report(f"chain: the manifest of {day} cannot be read: {type(error).__name__}: {error}")
        return None
    if root != stated["root"]:
        report(f"root: {day}: the copy has {root}, the manifest says {stated['root']}")
    return root


def read_listing(path: Path | None) -> dict[str, Fields]:
    """Facts by key: `Contents` of list-objects-v2, or one JSON object in a line."""
    if path is None:
        return {}
    text = path.read_text()
    try:
        whole = json.loads(text)
        items = whole["Contents"] if isinstance(whole, dict) and "Contents" in whole else [whole]
    except json.JSONDecodeError:
        items = [json.loads(line) for line in text.splitlines() if line.strip()]
    return {item["Key"]: item for item in items}


def say(text: str) -> None:
    """Write a line of the result."""
    sys.stdout.write(text + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Verify; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("copy", type=Path, help="folder with the copy of the bucket")
    parser.add_argument("--day", type=date.fromisoformat, help="only this day (default: every day with a manifest)")
    parser.add_argument("--root", help="the root of the last day, as you got it from elsewhere")
    parser.add_argument("--audit-prefix", default="audit/", help="prefix of the manifests (default: audit/)")
    parser.add_argument("--listing", type=Path, help="JSON file with ETags, and perhaps metadata, of the bucket")
    options = parser.parse_args(arguments)
    copy = Copy(options.copy, options.audit_prefix, read_listing(options.listing))
    days = [day for day in copy.days() if options.day in (None, day)]
    if not days:
        sys.stderr.write(f"there is no manifest to verify in {copy.audit}\n")
        return 2
    failed, root = False, None
    every = copy.days()
    for day in days:
        report, previous = Report(), None
        if every.index(day) > 0:
            try:
                previous = copy.manifest(day - timedelta(days=1))
            except (OSError, ValueError) as error:
                report(f"chain: the manifest of the day before {day} cannot be read: {error}")
        root = check_day(copy, day, previous, report)
        failed |= bool(report.problems)
        say(f"{day} {root or '-'} {'FAILED' if report.problems else 'ok'}")
        for text in report.problems:
            say(f"  {text}")
    if options.root and root != options.root:
        say(f"root: the last day has {root}, you gave {options.root}")
        failed = True
    say("FAILED: the copy is not what the manifests say" if failed else f"ok: {len(days)} days verified")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
