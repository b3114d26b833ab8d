"""The alert tests depend on each other. After the first failure each later test fails with the name of that test."""

from __future__ import annotations

import pytest

_BROKEN = pytest.StashKey[str]()


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Record the name of the first test that failed."""
    if call.excinfo is not None and item.parent is not None:
        item.parent.stash.setdefault(_BROKEN, item.name)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test at once if an earlier test failed."""
    if item.parent is not None and (name := item.parent.stash.get(_BROKEN, "")):
        pytest.fail(f"the earlier test {name} failed", pytrace=False)
