"""One value for many readers: it is made by the first who asks, and the others wait for it and share it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(slots=True)
class SingleFlight(Generic[Value]):
    """Keeps the value of each key for `seconds`. While one caller makes a value, no other caller makes the same one.

    `make` gets the key and the value before, None at first. Its error is not kept: the next caller tries again.
    """

    make: Callable[[str, Value | None], Value]
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _values: dict[str, tuple[float, Value]] = field(default_factory=dict)
    _locks: dict[str, Lock] = field(default_factory=dict)
    _guard: Lock = field(default_factory=Lock)

    def get(self, key: str = "") -> Value:
        """The value, at most `seconds` old.

        Raises:
            Exception: that of `make`.
        """
        with self._guard:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            made = self._values.get(key)
            if made is not None and self.clock() - made[0] < self.seconds:
                return made[1]
            value = self.make(key, None if made is None else made[1])
            self._values[key] = (self.clock(), value)
            return value

    def forget(self, key: str = "") -> None:
        """Make the value again at the next call."""
        self._values.pop(key, None)
