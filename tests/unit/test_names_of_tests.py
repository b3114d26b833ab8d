"""Rules for the tests themselves: short names, and helpers in modules of their own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from include.settings import PROJECT_ROOT

MAX_CHARACTERS = 70
MODULES = {path.relative_to(PROJECT_ROOT): ast.parse(path.read_text()) for path in PROJECT_ROOT.glob("tests/**/*.py")}


def test_a_name_has_at_most_70_characters() -> None:
    names = [
        f"{path}: {node.name}"
        for path, module in MODULES.items()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and len(node.name) > MAX_CHARACTERS
    ]
    assert names == []


def imports(module: ast.Module) -> Iterator[str]:
    """Dotted names that a module imports from tests/."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tests":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_imports_test_modules_or_fixtures_of_another_suite() -> None:
    """Move the shared part to a module with another name."""
    wrong = [
        f"{path}: {name}"
        for path, module in MODULES.items()
        for name in imports(module)
        if re.search(r"\.test_", name) or re.match(rf"tests\.(?!{path.parts[1]}\.).*\bconftest\b", name)
    ]
    assert wrong == []
