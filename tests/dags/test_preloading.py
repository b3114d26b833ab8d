"""The scheduler's forks find dbt warm; nothing of the project stays in the scheduler or beside the saved parse."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.settings import DBT_PROJECT
from include.transform.manifest import SAVED_PARSE, parse_into
from plugins.airflow_local_settings import read_saved_parse


def test_dbt_reads_its_saved_parse_and_leaves_it_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_TARGET", "ci")
    for part in DBT_PROJECT.iterdir():
        if part.name not in {"target", "logs"}:
            (tmp_path / part.name).symlink_to(part)
    target = tmp_path / "target"
    target.mkdir()
    assert not read_saved_parse(tmp_path)  # there is none yet
    parse_into(target)
    saved = (target / SAVED_PARSE).read_bytes()
    files = {path.name for path in target.iterdir()}
    assert read_saved_parse(tmp_path)
    assert (target / SAVED_PARSE).read_bytes() == saved
    assert {path.name for path in target.iterdir()} == files


def test_a_saved_parse_that_dbt_cannot_use_keeps_no_scheduler_from_starting(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / SAVED_PARSE).write_bytes(b"torn")
    assert not read_saved_parse(tmp_path)  # nor is there a project
