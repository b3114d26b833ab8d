"""Runbooks follow the catalogue."""

from __future__ import annotations

import re

import pytest

from include.catalogue import CONDITIONS, Condition
from include.settings import PROJECT_ROOT

RUNBOOKS = PROJECT_ROOT / "docs" / "runbooks"
PARTS = ("**What it means.**", "**How to look**", "**How to fix**", "**How to silence.**")


def test_there_is_one_runbook_a_condition_and_no_other() -> None:
    assert {path.name for path in RUNBOOKS.glob("*.md")} == {one.runbook for one in CONDITIONS.values()}


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=lambda one: one.name)
def test_a_runbook_says_what_how_to_look_fix_and_silence(condition: Condition) -> None:
    text = (RUNBOOKS / condition.runbook).read_text()
    assert text.startswith(f"# {condition.title}\n")
    positions = [text.index(part) for part in PARTS]
    assert positions == sorted(positions)
    for name in re.findall(r'\{"(\w+)": [\d.]+\}', text):
        assert name in CONDITIONS
    for parameter in re.findall(r"parameter `(\w+)`", text):
        assert parameter == condition.parameter
    for link in re.findall(r"\]\((\w+\.md)\)", text):
        assert (RUNBOOKS / link).exists(), link
