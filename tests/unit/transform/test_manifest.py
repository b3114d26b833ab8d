"""Which manifest the DAGs are rendered from, and where it is kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from include.transform import manifest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one file with a manifest made after it; dbt's own part is to leave a file."""
    folder = tmp_path / "dbt"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "one.sql").write_text("select 1")
    target = folder / "target"
    target.mkdir()
    (target / "manifest.json").write_text("made beforehand")
    monkeypatch.setattr(manifest, "DBT_PROJECT", folder)
    monkeypatch.setattr(manifest, "TARGET", target)
    monkeypatch.setattr(manifest, "BUILT_IN_ADVANCE", target / "manifest.json")
    monkeypatch.setattr(manifest, "parse_into", lambda place: (place / "manifest.json").write_text("parsed here"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return folder


def changed_since(project: Path) -> None:
    made = (project / "target" / "manifest.json").stat().st_mtime
    os.utime(project / "models" / "one.sql", (made + 1, made + 1))


def test_the_manifest_made_beforehand_is_taken(project: Path) -> None:
    assert manifest.manifest() == project / "target" / "manifest.json"


def test_one_that_is_older_than_the_project_is_not(project: Path) -> None:
    changed_since(project)
    found = manifest.manifest()
    assert found.read_text() == "parsed here"
    assert found.is_relative_to(project / "target")
    assert manifest.manifest() == found, "it is kept"
    (project / "models" / "one.sql").write_text("select 2")
    changed_since(project)
    assert manifest.manifest() != found, "by content"


def test_it_is_kept_elsewhere_where_the_project_may_not_be_written(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that the host's folder is mounted into; root, who runs CI, may write everywhere."""
    changed_since(project)
    monkeypatch.setattr(os, "access", lambda path, _mode: not Path(path).is_relative_to(project))
    before = sorted(project.rglob("*"))
    found = manifest.manifest()
    assert found.read_text() == "parsed here"
    assert found.is_relative_to(tmp_path / "temporary")
    assert sorted(project.rglob("*")) == before
