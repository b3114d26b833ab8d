"""What is landed of partitions without a commit: one look through the whole prefix, in a thread of its own.

With millions of objects it takes longer than the group waits for a poll.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Mapping

import obstore
from obstore.store import S3Store

from include.landing.layout import parse_key


class Listing:
    """Begins at once. `assignments` are the partitions it looks for, with the assignment that each was waiting in.

    What it finds holds for these only: of a partition that was assigned later, its previous owner may have landed
    more in the meantime.
    """

    def __init__(self, store: S3Store, prefix: str, assignments: Mapping[int, int]) -> None:
        self.assignments = dict(assignments)
        self._store = store
        self._prefix = prefix
        self._offsets = {partition: array("q") for partition in assignments}
        self._error: Exception | None = None
        self._done = threading.Event()
        self._given_up = False
        threading.Thread(target=self._run, name="listing", daemon=True).start()

    def _run(self) -> None:
        try:
            for chunk in obstore.list(self._store, prefix=self._prefix):
                if self._given_up:
                    break
                for entry in chunk:
                    key = parse_key(entry["path"])
                    if key is not None and key.kind == "crypto_data" and key.partition in self._offsets:
                        self._offsets[key.partition].append(key.first_offset)
        except Exception as error:  # noqa: BLE001 - whoever takes the result gets it
            self._error = error
        finally:
            self._done.set()

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
