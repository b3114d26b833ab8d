"""Only `include/on_airflow/` imports Airflow."""

from __future__ import annotations

import ast
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


def test_only_one_folder_imports_airflow() -> None:
    importing = {
        module.relative_to(PROJECT_ROOT / "include").parts[0]
        for module in (PROJECT_ROOT / "include").rglob("*.py")
        if imports_airflow(module)
    }
    assert importing == {"on_airflow"}
