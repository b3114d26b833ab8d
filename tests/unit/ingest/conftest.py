"""What each test of the ingest programs leaves as it found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_end_with_their_test() -> Iterator[None]:
    """A test that runs a program has the log sent to a stream that is closed after it: the next test's threads log."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)
