"""Cleans up after each test of the ingest programs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_end_with_their_test() -> Iterator[None]:
    """Reset the logs after each test. A program logs to its test's stream, which is closed when later threads log."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)
