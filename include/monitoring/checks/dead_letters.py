"""What the dead letters of the last hour hold: messages by class, and one example. Pure but for the GETs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from include.ingest.replay.choice import summary
from include.instants import Instant
from include.landing.codec import CODECS
from include.landing.dead_letter import DeadLetter
from include.landing.layout import parse_key
from include.monitoring.checks.arrivals import Arrived

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

MOST_OBJECTS = 20
"""Objects that are read in one run of the monitor, the newest ones: each is one GET."""
MOST_BYTES = 4 * 2**20
"""A larger object is not read."""


class DeadLetters(msgspec.Struct, frozen=True):
    """Rows of the dead-letter objects that were read, by class; a `gap` is one row without a message.

    `unread` is the number of further objects. `first_at` is the time at which the oldest object arrived. `example` is
    the place, the class and the error of the newest message.
    """

    rows: Mapping[str, int] = {}
    unread: int = 0
    first_at: Instant | None = None
    example: str = ""

    @property
    def messages(self) -> int:
        """Number of messages in the objects that were read."""
        return sum(number for name, number in self.rows.items() if name != "gap")


NONE = DeadLetters()


def read(s3: S3Client, bucket: str, arrived: Sequence[Arrived]) -> DeadLetters:
    """The content of the objects that arrived, newest first.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    newest = sorted(arrived, key=lambda item: item.at, reverse=True)
    rows: Counter[str] = Counter()
    read_objects, example = 0, ""
    for item in [item for item in newest if item.size <= MOST_BYTES][:MOST_OBJECTS]:
        letters = _letters(s3.get_object(Bucket=bucket, Key=item.key)["Body"].read(), item.key)
        read_objects += letters is not None
        rows.update(letter.error_class for letter in letters or ())
        messages = [letter for letter in letters or () if letter.error_class != "gap"]
        if messages and not example:
            place, time, error_class, text = summary(messages[-1])
            example = f"{place} at {time}, {error_class}: {text}"
    first = newest[-1].at if newest else None
    return DeadLetters(dict(rows.most_common()), len(newest) - read_objects, first, example)


def _letters(body: bytes, key: str) -> list[DeadLetter] | None:
    """The rows of an object, None if it is not readable: it is counted as unread."""
    parts = parse_key(key)
    assert parts is not None  # only such objects are counted as arrived
    try:
        return [DeadLetter.from_row(row) for row in CODECS[parts.suffix].decode(body)]
    except ValueError as error:
        log.warning("the dead-letter object %s is not readable: %s", key, error)
        return None
