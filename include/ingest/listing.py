"""Lists the landed objects of partitions without a commit, in a thread of its own.

It reads both prefixes once. With millions of objects this takes longer than the group waits for a poll.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping

import obstore
from obstore.store import S3Store

from include.ingest.partition_writer import ProtocolError
from include.ingest.starting_offset import OffsetRange
from include.landing.layout import Kind, ObjectKey, parse_key
from include.landing.metadata import MetadataError, ObjectMetadata
from include.settings import StorageSettings

ADOPT = "adopt"
"""The `writer` in the metadata of dead letters for offsets that an operator skipped."""


def list_objects(store: S3Store, prefix: str, kind: Kind) -> Iterator[list[tuple[ObjectKey, str]]]:
    """The objects of a kind in pages, each as its parsed key and its path."""
    for chunk in obstore.list(store, prefix=prefix):
        keys = ((parse_key(entry["path"]), entry["path"]) for entry in chunk)
        yield [(key, path) for key, path in keys if key is not None and key.kind == kind]


def read_metadata(store: S3Store, path: str) -> ObjectMetadata:
    """The metadata of an object.

    Raises:
        ProtocolError: the object has no usable metadata.
    """
    response = obstore.get(store, path, options={"head": True})
    try:
        return ObjectMetadata.from_attributes(path, dict(response.attributes))
    except MetadataError as error:
        raise ProtocolError(str(error)) from error


def require_topic(path: str, metadata: ObjectMetadata, topic_id: str) -> None:
    """Refuse dead letters of another topic, or of this topic before it was recreated.

    Raises:
        ProtocolError: the topic id differs.
    """
    if metadata.topic_id != topic_id:
        raise ProtocolError(
            f"{path} is of topic {metadata.topic}, topic id {metadata.topic_id}, expected topic id {topic_id}: one "
            "prefix holds one topic's dead letters; move the other topic's out of S3_DEAD_LETTER_PREFIX"
        )


def skipped_ranges(store: S3Store, topic_id: str, paths: Iterable[str]) -> list[OffsetRange]:
    """The ranges that `adopt` skipped, read from the dead letters at `paths`, which have no data object.

    Dead letters of a consumer do not count: their data object was removed, and its records must not be skipped.

    Raises:
        ProtocolError: an object has no usable metadata, or is of another topic.
    """
    ranges = []
    for path in paths:
        metadata = read_metadata(store, path)
        require_topic(path, metadata, topic_id)
        if metadata.writer == ADOPT:
            ranges.append((metadata.first_offset, metadata.last_offset))
    return ranges


class Listing:
    """A listing, begun at once. `assignments` are the partitions to list, each with the assignment in which it waits.

    The result holds only for these assignments: if a partition is assigned again later, its previous owner may have
    landed more.
    """

    def __init__(self, store: S3Store, storage: StorageSettings, topic_id: str, assignments: Mapping[int, int]) -> None:
        self.assignments = dict(assignments)
        self._topic_id = topic_id
        self._store = store
        self._storage = storage
        self._offsets = {partition: array("q") for partition in assignments}
        self._skipped: dict[int, list[OffsetRange] | ProtocolError] = {}
        self._error: Exception | None = None
        self._done = threading.Event()
        self._cancelled = False
        threading.Thread(target=self._run, name="listing", daemon=True).start()

    def _run(self) -> None:
        try:
            self._list()
        except Exception as error:  # noqa: BLE001 - `check` raises it in the loop's thread
            self._error = error
        finally:
            self._done.set()

    def _list(self) -> None:
        # The dead letters are listed first. In the other order, dead letters that another writer lands meanwhile would
        # seem to have no data object.
        without_data: dict[int, dict[int, str]] = {partition: {} for partition in self._offsets}
        for key, path in self._keys(self._storage.dead_letter_prefix, "dead_letter"):
            without_data[key.partition][key.first_offset] = path
        for key, _ in self._keys(self._storage.data_prefix, "crypto_data"):
            self._offsets[key.partition].append(key.first_offset)
            without_data[key.partition].pop(key.first_offset, None)
        self._skipped = {partition: self._skipped_of(paths.values()) for partition, paths in without_data.items()}

    def _keys(self, prefix: str, kind: Kind) -> Iterator[tuple[ObjectKey, str]]:
        """The keys of the listed partitions.

        Raises:
            InterruptedError: the listing was cancelled.
        """
        for page in list_objects(self._store, prefix, kind):
            if self._cancelled:
                raise InterruptedError("the listing was cancelled")
            yield from ((key, path) for key, path in page if key.partition in self._offsets)

    def _skipped_of(self, paths: Iterable[str]) -> list[OffsetRange] | ProtocolError:
        """The skipped ranges of a partition, or the error that stops only this partition."""
        try:
            return skipped_ranges(self._store, self._topic_id, paths)
        except ProtocolError as error:
            return error

    def wait(self, seconds: float) -> bool:
        """Whether the listing is done, after at most `seconds`."""
        return self._done.wait(seconds)

    def cancel(self) -> None:
        """End the listing before its next page."""
        self._cancelled = True

    def check(self) -> None:
        """Raise the error of a listing that is done, if it has one.

        Raises:
            BaseError, OSError: S3 did not answer.
        """
        if self._error is not None:
            raise self._error

    def first_offsets(self, partition: int) -> list[int]:
        """First offsets of the partition's data objects, in the order of their keys."""
        return self._offsets[partition].tolist()

    def skipped(self, partition: int) -> list[OffsetRange]:
        """The ranges of the partition that `adopt` skipped.

        Raises:
            ProtocolError: see `skipped_ranges`.
        """
        ranges = self._skipped[partition]
        if isinstance(ranges, ProtocolError):
            raise ranges
        return ranges
