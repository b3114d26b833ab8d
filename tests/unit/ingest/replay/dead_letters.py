"""A dead letter, for the tests of replay."""

from __future__ import annotations

from include.landing.dead_letter import DeadLetter, rejected_message


def rejected(offset: int = 7) -> DeadLetter:
    return rejected_message(
        topic="quotes", partition=0, offset=offset, timestamp=0, error_class="not_json", error="no JSON",
        key=None, value=b"no quote", headers=None,
    )  # fmt: skip
