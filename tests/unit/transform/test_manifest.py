"""The choice of the manifest that the DAGs are rendered from, and its place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from include.transform import manifest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one file with a newer manifest. A parse by dbt is replaced by a file."""
    folder = tmp_path / "dbt"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "one.sql").write_text("select 1")
    target = folder / "target"
    target.mkdir()
    (target / "manifest.json").write_text("built in advance")
    monkeypatch.setattr(manifest, "DBT_PROJECT", folder)
    monkeypatch.setattr(manifest, "TARGET", target)
    monkeypatch.setattr(manifest, "BUILT_IN_ADVANCE", target / "manifest.json")
    monkeypatch.setattr(manifest, "parse_into", lambda place: (place / "manifest.json").write_text("parsed here"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return folder


def change_after_build(project: Path) -> None:
    built_at = (project / "target" / "manifest.json").stat().st_mtime
    os.utime(project / "models" / "one.sql", (built_at + 1, built_at + 1))


def test_a_manifest_that_was_built_in_advance_is_used(project: Path) -> None:
    assert manifest.manifest() == project / "target" / "manifest.json"


def test_a_manifest_older_than_the_project_is_not_used(project: Path) -> None:
    change_after_build(project)
    parsed = manifest.manifest()
    assert parsed.read_text() == "parsed here"
    assert parsed.is_relative_to(project / "target")
    assert manifest.manifest() == parsed, "the parsed manifest is kept"
    (project / "models" / "one.sql").write_text("select 2")
    change_after_build(project)
    assert manifest.manifest() != parsed, "other content needs another manifest"


def test_the_manifest_of_a_read_only_project_is_kept_elsewhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container mounts the host's folder like this. CI runs as root, which may write everywhere."""
    change_after_build(project)
    monkeypatch.setattr(os, "access", lambda path, _mode: not Path(path).is_relative_to(project))
    before = sorted(project.rglob("*"))
    parsed = manifest.manifest()
    assert parsed.read_text() == "parsed here"
    assert parsed.is_relative_to(tmp_path / "temporary")
    assert sorted(project.rglob("*")) == before
