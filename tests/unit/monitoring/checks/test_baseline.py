"""The learned baseline of throughput."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.monitoring.checks import baseline

NOW = datetime.now(UTC).replace(second=0, microsecond=0)


def hourly(days: int, messages: float) -> list[tuple[datetime, float]]:
    this_hour = NOW.replace(minute=0)
    return [(this_hour - timedelta(hours=hours), messages) for hours in range(1, 24 * days + 2)]


@pytest.mark.parametrize("days", [0, 1, 2])
def test_with_few_days_of_history_the_baseline_is_still_learning(days: int) -> None:
    learned = baseline.learn(hourly(days, 1200), NOW, 0.5)
    assert learned.value is None
    assert f"learning: {days} of 3 days" in learned.note


def test_the_baseline_is_a_share_of_the_usual() -> None:
    learned = baseline.learn(hourly(5, 1200), NOW, 0.5)
    assert learned.value == 50.0  # 1200 an hour are 100 in five minutes
    assert learned.note == "50% of the usual 100 messages at this hour"


def test_one_broken_day_does_not_move_the_baseline() -> None:
    series = [(at, 0.0 if NOW - at < timedelta(days=1, hours=2) else value) for at, value in hourly(7, 1200)]
    assert baseline.learn(series, NOW, 0.5).value == 50.0


def test_other_hours_of_the_day_do_not_count() -> None:
    noon = NOW.replace(hour=12, minute=0)
    series = [(noon - timedelta(days=day, hours=6), 9999.0) for day in range(1, 8)]
    assert baseline.learn(series, noon, 0.5).value is None
