"""The scheduler reads dbt's saved parse before it forks, and changes no file; a parse that is useless does no harm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import DBT_PROJECT, PROJECT_ROOT
from include.transform.manifest import SAVED_PARSE, parse_into
from plugins.airflow_local_settings import read_saved_parse


def link_project(folder: Path) -> Path:
    """The project in `folder`, with a target folder of its own."""
    for part in DBT_PROJECT.iterdir():
        if part.name not in {"target", "logs"}:
            (folder / part.name).symlink_to(part)
    target = folder / "target"
    target.mkdir()
    return target


def test_dbt_reads_its_saved_parse_and_leaves_it_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_TARGET", "ci")
    target = link_project(tmp_path)
    assert not read_saved_parse(tmp_path)  # not written yet
    parse_into(target)
    saved = (target / SAVED_PARSE).read_bytes()
    files = {path.name for path in target.iterdir()}
    assert read_saved_parse(tmp_path)
    assert (target / SAVED_PARSE).read_bytes() == saved
    assert {path.name for path in target.iterdir()} == files


def test_a_scheduler_starts_with_a_saved_parse_that_dbt_cannot_use(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / SAVED_PARSE).write_bytes(b"torn")
    assert not read_saved_parse(tmp_path)  # and the folder has no project


PARSE_IN_A_FORK = """
import os, signal, sys
from pathlib import Path
from dbt_extractor import ExtractionError, py_extract_from_source
from plugins.airflow_local_settings import read_saved_parse

assert not read_saved_parse(Path(sys.argv[1]))
if os.fork() == 0:
    signal.alarm(20)
    for model in Path(sys.argv[1], "models").rglob("*.sql"):
        try:
            py_extract_from_source(model.read_text())
        except ExtractionError:
            pass
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_task_can_parse_where_the_saved_parse_is_of_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the scheduler parsed, it would start threads that its forks lack, and each fork would hang."""
    monkeypatch.setenv("WAREHOUSE_TARGET", "ci")
    parse_into(link_project(tmp_path))
    monkeypatch.setenv("WAREHOUSE_TARGET", "athena")
    subprocess.run([sys.executable, "-c", PARSE_IN_A_FORK, str(tmp_path)], check=True, cwd=PROJECT_ROOT, timeout=120)
