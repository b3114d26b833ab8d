"""The alert tests are one story. After the first failure each later test ends with the name of the failed one."""

from __future__ import annotations

import pytest

_BROKEN = pytest.StashKey[str]()


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Record where the story broke."""
    if call.excinfo is not None and item.parent is not None:
        item.parent.stash.setdefault(_BROKEN, item.name)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """End a test if the story broke before it."""
    if item.parent is not None and (where := item.parent.stash.get(_BROKEN, "")):
        pytest.fail(f"the story broke in {where}", pytrace=False)
