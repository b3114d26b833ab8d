"""How long this machine kept a thread waiting, so that a bound on time does not count other processes' work."""

from __future__ import annotations

import threading
from time import monotonic
from types import TracebackType

TICK_SECONDS = 0.01


class Stalls:
    """Inside the block a thread does nothing but sleep; `longest` is the longest time (s) between two of its turns."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        last = monotonic()
        while not self._stop.wait(TICK_SECONDS):
            now = monotonic()
            self.longest, last = max(self.longest, now - last), now

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
