"""The command `python -m include.aws.sizing`, as docs/sizing.md shows it."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from include.aws.sizing.__main__ import main
from include.settings import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "sizing.md").read_text()
COMMANDS = re.findall(r"^\.venv/bin/python -m include\.aws\.sizing (.*)$", PAGE, re.MULTILINE)


def test_the_pages_command_prints_a_short_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(COMMANDS[0])) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("1,000 messages/s of 200 bytes, in gold after 1,140 s, kept 12 months\n")
    for name in ("partitions", "consumers", "memory", "PUTs a second", "Athena bytes", "CloudWatch series", "sum"):
        assert name in printed
    assert max(map(len, printed.splitlines())) <= 200


def test_the_pages_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(COMMANDS[1])) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["demand"]["messages_per_second"] == 1000
    assert plan["dollars_a_month"] == pytest.approx(sum(plan["dollars"].values()))
    assert plan["settings"] == {"test_window_days": "0.1157"}
    assert plan["warnings"] == []


def test_a_freshness_that_is_not_possible_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--messages-per-second", "1", "--freshness", "60"]) == 2
    assert "gold cannot be 60 s fresh" in capsys.readouterr().err
