"""What the monitor's publishing step tells CloudWatch and the checks is the same."""

from __future__ import annotations

from typing import Any

import pytest

from include.monitoring.checks import cloudwatch
from include.monitoring.checks.cloudwatch import Datum
from include.on_airflow import connections, monitor
from tests.unit.monitoring.checks.test_verdicts import EVERYTHING


@pytest.mark.parametrize(
    ("blind", "variable", "count"),
    [
        ((), None, 0),
        ((), '{"kafka_lagg": 5000}', 1),
        (("kafka", "layers"), None, 2),
        (("kafka", "layers"), "{", 3),
    ],
)
def test_the_published_blindness_is_what_the_check_sees(
    monkeypatch: pytest.MonkeyPatch, blind: tuple[str, ...], variable: str | None, count: int
) -> None:
    published: list[Datum] = []
    monkeypatch.setenv("S3_BUCKET", "lake")
    monkeypatch.setattr(connections, "cloudwatch_client", lambda: None)
    monkeypatch.setattr(cloudwatch, "publish", lambda *arguments: published.extend(arguments[3]))
    measured: dict[str, dict[str, Any] | None] = EVERYTHING | dict.fromkeys(blind)
    verdicts, refusal = monitor.publish(measured, {}, variable)
    found = next(one for one in verdicts if one["condition"] == "monitor_blind")
    assert not refusal
    assert {one.metric: one.value for one in published}["BlindSources"] == count
    assert (found["value"], found["outcome"]) == (str(count), "breached" if count else "ok")
