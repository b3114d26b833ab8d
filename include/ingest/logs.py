"""Structured logs: JSON lines, or readable ones on a terminal. Times are UTC."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

LIBRDKAFKA = logging.getLogger("librdkafka")
"""The `logger` of Kafka clients: librdkafka writes to standard error by itself otherwise, and not in JSON."""


class _Forward(logging.Handler):
    """Makes what libraries log the standard way lines like ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record under its logger's name."""
        logger(record.name).log(record.levelno, record.getMessage())


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Log to `stream` (default: standard error) from now on."""
    out = sys.stderr if stream is None else stream
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if out.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            renderer,
        ]
        if not out.isatty()
        else [
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that names its component."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return bound
