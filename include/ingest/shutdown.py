"""The end of a process: a signal is heard at once, and the end comes within a set time, whatever hangs.

Python runs a signal's handler in the main thread, between two of its steps. A call that waits for Kafka is one step,
and some calls of librdkafka have no time limit. So one thread learns of signals, and another ends the process.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from math import inf
from pathlib import Path
from time import monotonic

EXIT_UNLANDED = 3
"""The exit status of a process that ended before everything was landed or sent."""
REPORT_SECONDS = 1.0
"""Time for the last log lines: the reader of standard error may hang, too."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at each SIGTERM and SIGINT, in a thread of its own. Call this function in the main thread."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    for number in SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def hear(_writer: socket.socket) -> None:
        """Python's C code writes each signal's number to the socket. `_writer` is kept open."""
        while (number := reader.recv(1)) != b"":
            if number[0] in SIGNALS:
                stop()

    threading.Thread(target=hear, args=(writer,), name="signals", daemon=True).start()


class Deadline:
    """Ends the process `seconds` after the shutdown has begun, with status 3, unless it has ended by itself."""

    def __init__(
        self, seconds: float, report: Callable[[str], None], end: Callable[[int], None] = os._exit,
        clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        """`report` logs what is not done; its argument is the place where the main thread is held."""
        self._seconds = seconds
        self._report = report
        self._end = end
        self._clock = clock
        self._lock = threading.Lock()
        self._due = inf

    def begin(self) -> None:
        """The shutdown begins now, unless it has begun already."""
        with self._lock:
            if self._due != inf:
                return
            self._due = self._clock() + self._seconds
        timer = threading.Timer(self._seconds, self._expire)
        timer.daemon = True
        timer.start()

    @property
    def remaining(self) -> float:
        """Seconds until the process must have ended; infinite before the shutdown, never negative."""
        return max(self._due - self._clock(), 0.0)

    def _expire(self) -> None:
        """End the process without any of Python's clean-up, which could hang as well."""
        reporting = threading.Thread(target=self._report, args=(_main_thread_is_at(),), daemon=True)
        reporting.start()
        reporting.join(REPORT_SECONDS)
        self._end(EXIT_UNLANDED)


def _main_thread_is_at() -> str:
    """The innermost lines of the main thread, like `commits.py:60 commit_now < consumer.py:360 _commit`."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    lines = traceback.extract_stack(frame) if frame is not None else []
    return " < ".join(f"{Path(line.filename).name}:{line.lineno} {line.name}" for line in reversed(lines[-4:]))
