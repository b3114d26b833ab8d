"""Structured logs: JSON lines with times in UTC; readable lines on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

LIBRDKAFKA = logging.getLogger("librdkafka")
"""The `logger` of Kafka clients. Without it librdkafka writes to standard error itself, and not in JSON."""


class _Forward(logging.Handler):
    """Sends records of the standard library's logging to our loggers."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record under its logger's name."""
        logger(record.name).log(record.levelno, record.getMessage())


def configure(stream: TextIO | None = None) -> None:
    """Log to `stream` (default: standard error) from now on."""
    out = sys.stderr if stream is None else stream
    end: list[structlog.typing.Processor] = (
        [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), structlog.dev.ConsoleRenderer()]
        if out.isatty()
        else [
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ]
    )
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, *end],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that names its component."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return bound
