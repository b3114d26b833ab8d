from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from include.monitoring.page.cache import SingleFlight


def test_a_value_is_made_once_for_its_time() -> None:
    now, made = [0.0], []

    def make(key: str, before: int | None) -> int:
        made.append((key, before))
        return len(made)

    flight = SingleFlight[int](make, 10, lambda: now[0])
    assert [flight.get("a"), flight.get("a")] == [1, 1]
    now[0] = 10.0
    assert flight.get("a") == 2
    assert made == [("a", None), ("a", 1)]


def test_a_forgotten_value_is_made_anew() -> None:
    values = iter((1, 2))
    flight = SingleFlight[int](lambda *_: next(values), 10, lambda: 0.0)
    flight.get("a")
    flight.forget("a")
    flight.forget("never made")
    assert flight.get("a") == 2


def test_each_key_has_its_own_value() -> None:
    flight = SingleFlight[str](lambda key, _: key.upper(), 10, lambda: 0.0)
    assert (flight.get("a"), flight.get("b")) == ("A", "B")


def test_ten_readers_at_once_cost_one_reading() -> None:
    made, begun, go_on = [], Event(), Event()

    def make(key: str, before: int | None) -> int:
        made.append(key)
        begun.set()
        assert go_on.wait(60)
        return 7

    flight, together = SingleFlight[int](make, 10), Barrier(10)

    def read() -> int:
        together.wait(60)
        return flight.get("a")

    with ThreadPoolExecutor(10) as pool:
        readers = [pool.submit(read) for _ in range(10)]
        assert begun.wait(60)
        go_on.set()
        assert [reader.result(60) for reader in readers] == [7] * 10
    assert made == ["a"]


def test_an_error_is_not_kept() -> None:
    faults = [ValueError("away")]

    def make(key: str, before: int | None) -> int:
        if faults:
            raise faults.pop()
        return 5

    flight = SingleFlight[int](make, 10, lambda: 0.0)
    with pytest.raises(ValueError, match="away"):
        flight.get("a")
    assert flight.get("a") == 5
