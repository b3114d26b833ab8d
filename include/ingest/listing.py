"""What is landed of partitions without a commit: one look through both prefixes, in a thread of its own.

With millions of objects it takes longer than the group waits for a poll.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping

import obstore
from obstore.store import S3Store

from include.ingest.partition_writer import ProtocolError
from include.ingest.starting_offset import Stretch
from include.landing.layout import Kind, ObjectKey, parse_key
from include.landing.metadata import MetadataError, ObjectMetadata
from include.settings import StorageSettings

ADOPT = "adopt"
"""The writer of dead letters that stand for what an operator gave up."""


def list_objects(store: S3Store, prefix: str, kind: Kind) -> Iterator[list[tuple[ObjectKey, str]]]:
    """The objects of a kind, with their keys as they are, in pages."""
    for chunk in obstore.list(store, prefix=prefix):
        keys = ((parse_key(entry["path"]), entry["path"]) for entry in chunk)
        yield [(key, path) for key, path in keys if key is not None and key.kind == kind]


def read_metadata(store: S3Store, path: str) -> ObjectMetadata:
    """What an object says it holds.

    Raises:
        ProtocolError: it does not say.
    """
    found = obstore.get(store, path, options={"head": True})
    try:
        return ObjectMetadata.from_attributes(path, dict(found.attributes))
    except MetadataError as error:
        raise ProtocolError(str(error)) from error


def require_topic(path: str, metadata: ObjectMetadata, topic_id: str) -> None:
    """Refuse dead letters of another topic, or of this one before it was created anew.

    Raises:
        ProtocolError: it is of one.
    """
    if metadata.topic_id != topic_id:
        raise ProtocolError(
            f"{path} is of topic {metadata.topic}, topic id {metadata.topic_id}, expected topic id {topic_id}: one "
            "prefix holds one topic's dead letters; move the other topic's out of S3_DEAD_LETTER_PREFIX"
        )


def stretches(store: S3Store, topic_id: str, alone: Iterable[str]) -> list[Stretch]:
    """What `adopt` gave up, by the dead letters that belong to no data object.

    Those of a consumer, whose data object was taken away, are none: they say nothing of what may be skipped.

    Raises:
        ProtocolError: an object does not say what it holds, or is of another topic.
    """
    found = []
    for path in alone:
        metadata = read_metadata(store, path)
        require_topic(path, metadata, topic_id)
        if metadata.writer == ADOPT:
            found.append((metadata.first_offset, metadata.last_offset))
    return found


class Listing:
    """Begins at once. `assignments` are the partitions it looks for, with the assignment that each was waiting in.

    What it finds holds for these only: of a partition that was assigned later, its previous owner may have landed
    more in the meantime.
    """

    def __init__(self, store: S3Store, storage: StorageSettings, topic_id: str, assignments: Mapping[int, int]) -> None:
        self.assignments = dict(assignments)
        self._topic_id = topic_id
        self._store = store
        self._storage = storage
        self._offsets = {partition: array("q") for partition in assignments}
        self._stretches: dict[int, list[Stretch] | ProtocolError] = {}
        self._error: Exception | None = None
        self._done = threading.Event()
        self._given_up = False
        threading.Thread(target=self._run, name="listing", daemon=True).start()

    def _run(self) -> None:
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 - whoever takes the result gets it
            self._error = error
        finally:
            self._done.set()

    def _look(self) -> None:
        # In the other order, dead letters that another writer lands in between would be taken for given up.
        alone: dict[int, dict[int, str]] = {partition: {} for partition in self._offsets}
        for page in list_objects(self._store, self._storage.dead_letter_prefix, "dead_letter"):
            if self._given_up:
                return
            for key, path in page:
                if key.partition in alone:
                    alone[key.partition][key.first_offset] = path
        for page in list_objects(self._store, self._storage.data_prefix, "crypto_data"):
            if self._given_up:
                return
            for key, _ in page:
                if key.partition in alone:
                    self._offsets[key.partition].append(key.first_offset)
                    alone[key.partition].pop(key.first_offset, None)
        self._stretches = {partition: self._given_up_of(letters.values()) for partition, letters in alone.items()}

    def _given_up_of(self, alone: Iterable[str]) -> list[Stretch] | ProtocolError:
        """The stretches, or what stops this partition; the others go on."""
        try:
            return stretches(self._store, self._topic_id, alone)
        except ProtocolError as error:
            return error

    def wait(self, seconds: float) -> bool:
        """Whether it is done, after `seconds` at the latest."""
        return self._done.wait(seconds)

    def give_up(self) -> None:
        """End with the next page."""
        self._given_up = True

    def check(self) -> None:
        """Once it is done.

        Raises:
            BaseError, OSError: S3 did not answer.
        """
        if self._error is not None:
            raise self._error

    def first_offsets(self, partition: int) -> list[int]:
        """First offsets of the partition's data objects, as the keys sort."""
        return self._offsets[partition].tolist()

    def given_up(self, partition: int) -> list[Stretch]:
        """What `adopt` gave up of the partition.

        Raises:
            ProtocolError: see `stretches`.
        """
        found = self._stretches[partition]
        if isinstance(found, ProtocolError):
            raise found
        return found
