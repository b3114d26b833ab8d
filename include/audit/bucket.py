"""Reads the bucket for the audit: listings by day, objects many at a time, and the manifests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec
import obstore
from obstore.exceptions import NotFoundError

from include.audit.manifest import Finding, Manifest, canonical, day_of_key, from_json, manifest_key, root_of, to_json
from include.audit.objects import Listed, Reading, read_object
from include.landing.layout import CONTRACT_NAME, Kind, parse_key
from include.landing.metadata import ObjectMetadata
from include.settings import StorageSettings
from include.state.audited import Audited, encode
from include.state.audited import key as audited_key

if TYPE_CHECKING:
    from obstore.store import S3Store

READERS = 32
"""Objects that are read at once; each waits for S3 most of its time."""
INDEX = "index.json"


class DayIndex(msgspec.Struct, frozen=True):
    """One audited day in `audit/index.json`: its root, and [begin, end) of each partition (`end` is the next one)."""

    root: str
    offsets: Mapping[int, tuple[int, int]]


class AuditBucket:
    """The bucket as the audit sees it. It writes manifests and their index, and nothing else."""

    def __init__(self, store: S3Store, storage: StorageSettings) -> None:
        self._store = store
        self.storage = storage

    def days(self) -> list[date]:
        """The days that have landed objects, in order."""
        found = set()
        for prefix in (self.storage.data_prefix, self.storage.dead_letter_prefix):
            for year in self._folders(prefix):
                for month in self._folders(year):
                    found |= {day for folder in self._folders(month) if (day := _day(prefix, folder))}
        return sorted(found)

    def _folders(self, prefix: str) -> list[str]:
        return [f"{path}/" for path in obstore.list_with_delimiter(self._store, prefix)["common_prefixes"]]

    def strangers(self, day: date) -> list[Finding]:
        """Objects beside the folders of the day's year, month and day, where no landed object can be."""
        prefixes = (self.storage.data_prefix, self.storage.dead_letter_prefix)
        folders = [f"{prefix}{part}" for prefix in prefixes for part in ("", f"{day:%Y}/", f"{day:%Y/%m}/")]
        paths = [
            entry["path"]
            for folder in folders
            for entry in obstore.list_with_delimiter(self._store, folder)["objects"]
            if entry["path"] != f"{self.storage.data_prefix}{CONTRACT_NAME}"
        ]
        return [Finding("foreign", "its name is not of the landing contract", path) for path in paths]

    def listed(self, day: date) -> tuple[list[Listed], list[Finding]]:
        """The landed objects of one day, and the objects there that have another name."""
        objects, findings = list[Listed](), list[Finding]()
        for kind, prefix in self._prefixes():
            folder = f"{prefix}{day:%Y/%m/%d}/"
            for chunk in obstore.list(self._store, prefix=folder):
                for entry in chunk:
                    name = parse_key(entry["path"])
                    if name is None or name.kind != kind or entry["path"].count("/") != folder.count("/"):
                        text = "its name is not of the landing contract"
                        findings.append(Finding("foreign", text, entry["path"]))
                        continue
                    etag = (entry["e_tag"] or "").strip('"')
                    objects.append(Listed(entry["path"], name, entry["size"], etag, entry["last_modified"]))
        return objects, findings

    def _prefixes(self) -> Iterator[tuple[Kind, str]]:
        yield "crypto_data", self.storage.data_prefix
        yield "dead_letter", self.storage.dead_letter_prefix

    def after(self, day: date, until: date) -> tuple[dict[int, int], dict[int, Listed]]:
        """By partition: the first offset of any object of the days after `day`, and the data object with the greatest.

        It lists until the day `until`, included.
        """
        first: dict[int, int] = {}
        newest: dict[int, Listed] = {}
        while (day := day + timedelta(days=1)) <= until:
            for item in self.listed(day)[0]:
                number, offset = item.name.partition, item.name.first_offset
                first[number] = min(first.get(number, offset), offset)
                is_data = item.name.kind == "crypto_data"
                if is_data and (number not in newest or newest[number].name.first_offset < offset):
                    newest[number] = item
        return first, newest

    def read(self, objects: Iterable[Listed], topic_id: str | None) -> Iterator[Reading]:
        """Read objects, many at once. One that was deleted since the listing is left out."""

        def one(listed: Listed) -> Reading | None:
            try:
                response = obstore.get(self._store, listed.key)
                attributes = {str(name): str(value) for name, value in response.attributes.items()}
                return read_object(listed, bytes(response.bytes()), attributes, topic_id)
            except (NotFoundError, FileNotFoundError):
                return None

        with ThreadPoolExecutor(READERS) as readers:
            yield from (reading for reading in readers.map(one, objects) if reading is not None)

    def last_offsets(self, objects: Mapping[int, Listed]) -> dict[int, int]:
        """The last offset of an object by partition, from its metadata.

        Raises:
            MetadataError: an object has no usable metadata.
        """
        ends = {}
        for number, listed in objects.items():
            attributes = obstore.get(self._store, listed.key, options={"head": True}).attributes
            texts = {str(name): str(value) for name, value in attributes.items()}
            ends[number] = ObjectMetadata.from_attributes(listed.key, texts).last_offset
        return ends

    # --- manifests ---------------------------------------------------------------

    def audited_days(self) -> list[date]:
        """The days that have a manifest, in order."""
        prefix = self.storage.audit_prefix
        paths = (entry["path"] for chunk in obstore.list(self._store, prefix=prefix) for entry in chunk)
        return sorted(day for path in paths if (day := day_of_key(prefix, path)))

    def manifest(self, day: date) -> tuple[Manifest, str] | None:
        """The manifest of a day and its root; None if the day has no manifest.

        Raises:
            ManifestError: it is not readable, or it was edited.
        """
        key = manifest_key(self.storage.audit_prefix, day)
        body = self._body(key)
        return None if body is None else from_json(key, body)

    def write(self, manifest: Manifest, *, again: bool) -> None:
        """Write a manifest and enter it in the index. Only `again` replaces one that is there.

        Raises:
            obstore.exceptions.AlreadyExistsError: another audit has written it meanwhile.
        """
        day = date.fromisoformat(manifest.day)
        key = manifest_key(self.storage.audit_prefix, day)
        mode: Literal["create", "overwrite"] = "overwrite" if again else "create"
        obstore.put(self._store, key, to_json(manifest), mode=mode, attributes=_JSON, use_multipart=False)
        index = self.index()
        offsets = {part.partition: (part.begin, part.end) for part in manifest.partitions}
        index[manifest.day] = DayIndex(root_of(manifest), offsets)
        body = canonical(msgspec.to_builtins(index, str_keys=True)) + b"\n"
        obstore.put(self._store, self.storage.audit_prefix + INDEX, body, attributes=_JSON, use_multipart=False)

    def record(self, audited: Audited) -> None:
        """Write the verdict of a run, for the monitor."""
        body = encode(audited)
        obstore.put(self._store, audited_key(self.storage), body, attributes=_JSON, use_multipart=False)

    def index(self) -> dict[str, DayIndex]:
        """The audited days, by day."""
        body = self._body(self.storage.audit_prefix + INDEX)
        return {} if body is None else msgspec.json.decode(body, type=dict[str, DayIndex])

    def _body(self, key: str) -> bytes | None:
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except (NotFoundError, FileNotFoundError):
            return None


_JSON = {"Content-Type": "application/json"}


def _day(prefix: str, folder: str) -> date | None:
    try:
        return datetime.strptime(folder.removeprefix(prefix), "%Y/%m/%d/").replace(tzinfo=UTC).date()
    except ValueError:
        return None
