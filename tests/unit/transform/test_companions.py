"""What changes the digests of a table's seed, snapshot and views."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from include.settings import DBT_PROJECT
from include.transform import companions


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = shutil.copytree(DBT_PROJECT, tmp_path / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(companions, "DBT_PROJECT", copy)
    return copy


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("seeds/assets.csv", {"assets", "assets_history", "crypto_checked"}),
        ("snapshots/assets_history.yml", {"assets", "assets_history", "crypto_checked"}),
        ("macros/asset_versions.sql", {"crypto_checked"}),
        ("models/silver/crypto_checked.sql", {"crypto_checked"}),
    ],
)
def test_a_changed_file_changes_the_digests_of_what_it_makes(project: Path, file: str, changed: set[str]) -> None:
    before = companions.digests("crypto_stage")
    (project / file).write_text((project / file).read_text() + "\n")
    after = companions.digests("crypto_stage")
    assert {name for name in before if before[name] != after[name]} == changed
