"""Runbooks follow the catalogue."""

from __future__ import annotations

import re

import pytest

from include.catalogue import CONDITIONS, Condition
from include.settings import PROJECT_ROOT

RUNBOOKS = PROJECT_ROOT / "docs" / "runbooks"
PARTS = ("**What it means.**", "**How to look**", "**How to fix**", "**How to silence.**")


def test_each_condition_has_one_runbook_and_there_is_no_other() -> None:
    assert {path.name for path in RUNBOOKS.glob("*.md")} == {condition.runbook for condition in CONDITIONS.values()}


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=lambda condition: condition.name)
def test_a_runbook_has_its_four_parts_in_order(condition: Condition) -> None:
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
