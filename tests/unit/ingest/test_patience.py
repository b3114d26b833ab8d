"""The time limit of a PUT grows with its size and with each time-out, up to a bound."""

from __future__ import annotations

import pytest

from include.ingest.patience import MOST_UPLOAD_SECONDS, UPLOAD_BYTES_A_SECOND, put_seconds


def test_a_small_body_gets_no_more_time_than_its_answer() -> None:
    assert [put_seconds(30.0, 20_000, timeouts) for timeouts in range(4)] == [30.0] * 4


def test_a_large_body_gets_the_time_of_its_upload() -> None:
    size = 8 * 2**20
    assert put_seconds(30.0, size, 0) >= 30 + size / UPLOAD_BYTES_A_SECOND


@pytest.mark.parametrize("rate", [200_000, 12_500, 5_000])
def test_a_slow_upload_lands_after_some_attempts(rate: int) -> None:
    """200 KB/s for one PUT, for sixteen at once, and for forty."""
    size, timeouts = 8 * 2**20, 0
    while put_seconds(30.0, size, timeouts) < size / rate:
        timeouts += 1
    assert timeouts <= 4


def test_a_small_put_waits_for_two_answers_at_most_after_a_long_outage() -> None:
    assert put_seconds(30.0, 20_000, 1000) <= 60


def test_the_limit_itself_is_bounded() -> None:
    assert put_seconds(30.0, 2**40, 50) <= 2 * (30 + MOST_UPLOAD_SECONDS)
