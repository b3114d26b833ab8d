"""Which modules of `include/` import Airflow is a decision, and written down."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from include.settings import PROJECT_ROOT


def imports_airflow(module: Path) -> bool:
    names = [
        name
        for node in ast.walk(ast.parse(module.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    return any(name.split(".")[0] in {"airflow", "cosmos"} for name in names)


def test_only_the_documented_modules_import_airflow() -> None:
    importing = {
        str(module.relative_to(PROJECT_ROOT))
        for module in (PROJECT_ROOT / "include").rglob("*.py")
        if imports_airflow(module)
    }
    seam = (PROJECT_ROOT / "docs" / "architecture.md").read_text().partition("which are the seam:")[2]
    documented = re.findall(r"^\| `(include/[^`]+\.py)` \|", seam.partition("## ")[0], re.MULTILINE)
    assert documented
    assert importing == set(documented)
