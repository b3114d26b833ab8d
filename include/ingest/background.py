"""A call in a thread of its own, for requests that may take long: the consumer's loop never waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Task(Generic[Result]):
    """A call that begins at once. Its thread does not keep the process alive."""

    def __init__(self, name: str, call: Callable[[], Result]) -> None:
        self._future: Future[Result] = Future()
        threading.Thread(target=self._run, args=(call,), name=name, daemon=True).start()

    def _run(self, call: Callable[[], Result]) -> None:
        try:
            self._future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - `result` raises it in the caller's thread
            self._future.set_exception(error)

    def done(self, within: float | None = 0.0) -> bool:
        """Whether the call has ended, after at most `within` seconds (None: without a limit)."""
        return bool(wait([self._future], within).done)

    def result(self) -> Result:
        """What the call returned, or its error raised. Call it only when `done`."""
        return self._future.result()
