"""The status screen and the JSON status show the known values and name the missing ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from include.catalogue import CONDITIONS
from include.local import screen
from include.local.status import Alert, Status

COMPLETE = Status(
    airflow="http://127.0.0.1:8080",
    sentence="All is well: gold is 40 s old. All 62 tests pass; no alert is open.",
    produced=9_084,
    landed=9_063,
    prices={"BTC": 88_123.45, "SHIB": 0.0000125},
    changes={"BTC": {"1 h": 0.123, "24 h": -4.5, "7 d": None}},
    lag=21,
    rows={"bronze": 8_796, "silver": 8_790, "gold": 147},
    newest_quote={"gold": "2026-11-23T22:03:16+00:00"},
    tests={"passed": 61, "warned": 1, "failed": 0},
    transform="success",
    monitor="success",
    mails=2,
    alerts=[],
    conditions=dict.fromkeys(CONDITIONS, "ok"),
    programs={"broker": "RUNNING", "consumer": "STOPPED"},
)
WELL = replace(COMPLETE, programs={"broker": "RUNNING", "consumer": "RUNNING"})
LAG = Alert("kafka_lag", "error", "Kafka lag is high", "2026-11-23T22:05:00.25Z")
NOTHING_YET = Status(airflow="http://127.0.0.1:8080")


def shown(status: Status) -> str:
    console = Console(record=True, width=100, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(screen.render(status, Path("state"), elapsed=61))
    return captured.get()


def test_the_screen_shows_address_counts_and_stopped_programs() -> None:
    text = shown(COMPLETE)
    for expected in (
        "http://127.0.0.1:8080  (no login needed)",
        "All is well: gold is 40 s old. All 62 tests pass; no alert is open.",
        "9,084",
        "9,063",
        "BTC 88,123.45  SHIB 1.25e-05",
        "BTC in gold",
        "1 h +0.12 %  24 h -4.50 %  7 d unknown",
        "8,796",
        "147",
        "61 passed  1 warned",
    ):
        assert expected in text
    assert "not running: consumer" in text


def test_what_is_not_known_is_shown_as_unknown_and_nothing_as_zero() -> None:
    text = shown(NOTHING_YET)
    for row in (
        "messages produced",
        "price changes",
        "rows in gold",
        "consumer lag",
        "data tests",
        "last transform run",
    ):
        assert "unknown" in next(line for line in text.splitlines() if row in line), row
    assert " 0 " not in text.split("mails received")[0]
    assert "programs: unknown" in text
    assert "alerts: unknown" in text
    assert "all programs running" not in text


def test_open_alerts_stand_on_the_screen_and_in_the_line() -> None:
    status = replace(WELL, alerts=[LAG, *[replace(LAG, title=f"Alert {number}") for number in range(5)]])
    text = shown(status)
    assert "ALERT  Kafka lag is high, since 2026-11-23T22:05:00Z" in text
    assert "and 1 more alerts" in text
    assert "all programs running" not in text
    assert "alerts 6 " in screen.line(status, 61)
    assert "alerts unknown" in screen.line(NOTHING_YET, 61)


def test_all_is_well_is_said_only_when_all_is_known() -> None:
    assert "all programs running, no open alert" in shown(WELL)
    unknown = replace(WELL, conditions=WELL.conditions | {"low_throughput": "unknown"})
    assert "unknown conditions: low_throughput" in shown(unknown)
    assert "no open alert" not in shown(unknown)


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (WELL, "ok"),
        (COMPLETE, "fault"),
        (replace(WELL, alerts=[LAG]), "fault"),
        (replace(WELL, conditions=WELL.conditions | {"notices_undelivered": "open"}), "fault"),
        (replace(WELL, conditions=WELL.conditions | {"low_throughput": "unknown"}), "unknown"),
        (replace(WELL, alerts=None), "unknown"),
        (replace(WELL, programs={}), "unknown"),
        (NOTHING_YET, "unknown"),
    ],
)
def test_the_json_says_whether_all_is_well(status: Status, health: str) -> None:
    assert json.loads(status.as_json())["health"] == health


def test_the_json_tells_unknown_from_zero_and_names_the_alerts() -> None:
    nothing = json.loads(NOTHING_YET.as_json())
    assert nothing["tests"] == {"passed": None, "warned": None, "failed": None}
    assert (nothing["alerts"], nothing["monitor"], nothing["transform"]) == (None, "unknown", "unknown")
    assert set(nothing["conditions"].values()) == {"unknown"}
    assert json.loads(replace(WELL, alerts=[LAG]).as_json())["alerts"] == [
        {"condition": "kafka_lag", "severity": "error", "title": "Kafka lag is high", "since": LAG.since}
    ]
    assert json.loads(WELL.as_json())["alerts"] == []


def test_the_json_status_names_empty_stages() -> None:
    assert json.loads(COMPLETE.as_json())["empty_stages"] == []
    assert json.loads(NOTHING_YET.as_json())["empty_stages"] == [
        "produced",
        "landed",
        "bronze",
        "silver",
        "gold",
        "tests passed",
    ]
