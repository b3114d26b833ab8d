"""The status screen and the JSON status show the known values and name the missing ones."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from include.local import screen
from include.local.status import Status

COMPLETE = Status(
    airflow="http://127.0.0.1:8080",
    produced=9_084,
    landed=9_063,
    prices={"BTC": 88_123.45, "SHIB": 0.0000125},
    lag=21,
    rows={"bronze": 8_796, "silver": 8_790, "gold": 147},
    newest_quote={"gold": "2026-11-23T22:03:16+00:00"},
    tests={"passed": 61, "warned": 1, "failed": 0},
    transform="success",
    monitor="success",
    mails=2,
    programs={"broker": "RUNNING", "consumer": "STOPPED"},
)
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
        "9,084",
        "9,063",
        "BTC 88,123.45  SHIB 1.25e-05",
        "8,796",
        "147",
        "61 passed  1 warned",
    ):
        assert expected in text
    assert "not running: consumer" in text


def test_an_unknown_number_is_not_shown_as_zero() -> None:
    text = shown(NOTHING_YET)
    assert "rows in gold" in text
    assert " 0 " not in text.split("mails received")[0].replace("0 passed  0 warned  0 failed", "")


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
