"""A shutdown ends in time, and a signal is heard while the main thread is held."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

from include.ingest.shutdown import EXIT_UNLANDED, Deadline
from tests.unit.ingest.fake_kafka import Time

HELD = """
import ctypes, sys
from include.ingest.shutdown import Deadline, on_signals
deadline = Deadline(0.2, lambda place: print(place, file=sys.stderr, flush=True))
on_signals(deadline.begin)
print("ready", flush=True)
lock = ctypes.create_string_buffer(64)  # a mutex; the second lock never returns, not even at a signal
ctypes.CDLL(None).pthread_mutex_lock(lock)
ctypes.CDLL(None).pthread_mutex_lock(lock)
"""


def test_a_signal_is_heard_while_the_main_thread_is_held_in_c() -> None:
    command = [sys.executable, "-c", HELD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            _, report = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == EXIT_UNLANDED
    assert report.startswith("<string>:9 <module>")


def test_a_report_that_hangs_does_not_hold_the_end() -> None:
    ends: list[int] = []
    ended, never = threading.Event(), threading.Event()

    def end(status: int) -> None:
        ends.append(status)
        ended.set()

    def hangs(_place: str) -> None:
        never.wait(100)

    deadline = Deadline(0.0, hangs, end)
    deadline.begin()
    assert ended.wait(60)
    never.set()
    assert ends == [EXIT_UNLANDED]


def test_the_time_is_counted_from_the_first_signal() -> None:
    time = Time()
    deadline = Deadline(1000.0, lambda _: None, lambda _: None, time)
    assert deadline.remaining > 10**9
    deadline.begin()
    time.passes(600)
    deadline.begin()
    assert 399 < deadline.remaining <= 400
    time.passes(600)
    assert deadline.remaining == 0
