"""How long a PUT may take: its upload counts, so the limit grows with the size of the body. Pure.

With a fixed limit a large body would never land on a slow network. With a limit that is large for all, a small PUT
whose connection is dead would wait for minutes.
"""

from __future__ import annotations

UPLOAD_BYTES_A_SECOND = 2**16
"""A slower upload times out at first. PUTs in flight share the network, so the next attempt may be half as fast."""
MOST_UPLOAD_SECONDS = 3600.0
"""Limit of the time for the upload, however often it has timed out."""
MOST_DOUBLINGS = 6
"""No upload is taken for slower than 1 KiB a second. Otherwise a small PUT would wait for an hour on a dead connection
after a long outage."""


def put_seconds(answer_seconds: float, size: int, timeouts: int) -> float:
    """Time limit (s) of the attempt after `timeouts` that timed out, for a body of `size` bytes.

    It is `answer_seconds` times a power of two, so that few clients are needed. A body that needs less than a quarter
    of `answer_seconds` gets no more than that.
    """
    upload = min(size / UPLOAD_BYTES_A_SECOND * 2.0 ** min(timeouts, MOST_DOUBLINGS), MOST_UPLOAD_SECONDS)
    seconds = answer_seconds
    while upload > answer_seconds / 4 and seconds < answer_seconds + upload:
        seconds *= 2
    return seconds
