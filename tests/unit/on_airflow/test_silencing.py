"""What the parameters of alert_silence mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.on_airflow import silencing
from include.on_airflow.refusal import RunParameterError
from include.state.silences import Silence

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
PARAMS: dict[str, Any] = {"alert": " kafka_lag ", "hours": 2, "reason": "the broker is\nbeing replaced"}


def test_a_silence_has_its_end_its_reason_and_its_author() -> None:
    name, silence = silencing.of_params(PARAMS, "ann", NOW)
    assert (name, silence) == ("kafka_lag", Silence(NOW + timedelta(hours=2), "the broker is being replaced", "ann"))
    assert str(silence) == "until 2026-11-23T16:30:00Z by ann: the broker is being replaced"


def test_zero_hours_end_a_silence_without_a_reason() -> None:
    assert silencing.of_params(PARAMS | {"hours": 0, "reason": ""}, "", NOW)[1].until == NOW


@pytest.mark.parametrize(
    ("params", "says"),
    [({"alert": "kafka_lags"}, "begin with one of kafka_lag, "), ({"reason": " "}, "reason is empty")],
)
def test_impossible_parameters_are_refused(params: dict[str, Any], says: str) -> None:
    with pytest.raises(RunParameterError, match=says):
        silencing.of_params(PARAMS | params, "", NOW)
