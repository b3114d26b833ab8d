"""The data dictionary (dbt's docs) before any run of `lakehouse_maintenance`: every description, no sizes or types.

It is made from the parsed project alone, so it opens no warehouse. The DAG later replaces it by the complete one.

`python -m include.transform.data_dictionary FOLDER TARGET`: write FOLDER/index.html, with dbt's work in TARGET.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from include.settings import DBT_PROJECT, PROJECT_ROOT
from include.transform import dbt_connection

PAGE = "index.html"


class DataDictionaryError(RuntimeError):
    """dbt cannot write the page; the text is dbt's."""


def write_first(folder: Path, target: Path) -> None:
    """Write the page into `folder` unless there is one; the saved parse in `target` saves dbt a parse.

    Raises:
        DataDictionaryError: dbt cannot write it.
    """
    page = folder / PAGE
    if page.exists():
        return
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "--log-level-file", "none", "docs", "generate"]
    command += ["--static", "--empty-catalog", "--no-compile"]
    command += ["--project-dir", str(DBT_PROJECT), "--target-path", str(target), *dbt_connection.arguments()]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    run = subprocess.run(command, env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        raise DataDictionaryError(f"dbt cannot write the data dictionary: {(run.stdout + run.stderr).strip()}")
    folder.mkdir(parents=True, exist_ok=True)
    (target / "static_index.html").replace(page)


if __name__ == "__main__":
    write_first(Path(sys.argv[1]), Path(sys.argv[2]))
