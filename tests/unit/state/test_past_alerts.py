"""The alerts that are over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.settings import StorageSettings
from include.state import past_alerts
from include.state.past_alerts import KEPT_FOR, MOST, PastAlert

NOW = datetime(2026, 11, 30, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


def over(key: str, ended_at: datetime) -> PastAlert:
    return PastAlert(key, key, "error", "a title", ended_at - HOUR, ended_at)


@pytest.mark.servers
def test_past_alerts_are_kept_for_a_week_the_newest_first(bucket: str) -> None:
    storage = StorageSettings(bucket=bucket)
    s3 = boto3.client("s3")
    past_alerts.add(s3, storage, [over("old", NOW - KEPT_FOR)], NOW - KEPT_FOR)
    past_alerts.add(s3, storage, [over("first", NOW - HOUR), over("second", NOW)], NOW + HOUR)
    past_alerts.add(s3, storage, [], NOW)
    assert [alert.key for alert in past_alerts.read(s3, storage)] == ["second", "first"]


def test_the_number_of_past_alerts_is_bounded() -> None:
    many = [over(f"{number}", NOW - timedelta(minutes=number)) for number in range(MOST + 5)]
    assert [alert.key for alert in past_alerts.kept(many, NOW)][:2] == ["0", "1"]
    assert len(past_alerts.kept(many, NOW)) == MOST
