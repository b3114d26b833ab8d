"""`verify.py` comes to the root of the audit, or says where the copy differs."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from include.audit.manifest import Manifest, canonical
from include.settings import PROJECT_ROOT
from tests.unit.audit.harms import HARMS, Harm
from tests.unit.audit.landed_days import BEFORE, DAY, LandedDays

VERIFY = PROJECT_ROOT / "include" / "audit" / "verify.py"


def verify(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it as a stranger does: alone, from another folder."""
    script = shutil.copy(VERIFY, folder / "verify.py")
    command = [sys.executable, "-I", str(script), str(folder / "copy"), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture
def days() -> LandedDays:
    audited = LandedDays()
    audited.auditor().run()
    return audited


def root(days: LandedDays) -> str:
    stored = days.auditor().bucket.manifest(DAY)
    assert stored
    return stored[1]


def test_it_uses_the_standard_library_only() -> None:
    tree = ast.parse(VERIFY.read_text(), feature_version=(3, 9))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name.partition(".")[0] for name in modules} <= sys.stdlib_module_names


def test_a_clean_copy_has_the_root_of_the_audit(days: LandedDays, tmp_path: Path) -> None:
    listing = days.copy_to(tmp_path)
    result = verify(tmp_path, "--root", root(days), "--listing", str(listing))
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{DAY} {root(days)} ok" in result.stdout
    assert "ok: 2 days verified" in result.stdout


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.name)
def test_each_harm_is_named(days: LandedDays, tmp_path: Path, harm: Harm) -> None:
    harm.inflict(days)
    listing = days.copy_to(tmp_path)
    result = verify(tmp_path, *(["--listing", str(listing)] if harm.needs_listing else []))
    assert result.returncode == 1
    lines = [line.strip() for line in result.stdout.splitlines()]
    wanted = (harm.kind, "missing", "altered")
    assert [line for line in lines if line.startswith(wanted) and harm.names in line], result.stdout


def test_an_edited_manifest_is_named(days: LandedDays, tmp_path: Path) -> None:
    days.copy_to(tmp_path)
    path = tmp_path / "copy" / "audit" / f"{DAY:%Y/%m/%d}.json"
    path.write_text(path.read_text().replace('"end":30', '"end":29', 1))
    assert f"chain: the manifest of {DAY} was edited" in verify(tmp_path).stdout


def test_a_manifest_edited_with_its_root_breaks_the_chain(days: LandedDays, tmp_path: Path) -> None:
    import hashlib

    days.copy_to(tmp_path)
    path = tmp_path / "copy" / "audit" / f"{BEFORE:%Y/%m/%d}.json"
    fields = json.loads(path.read_text())
    del fields["root"]
    fields["topic"] = "another"
    path.write_bytes(canonical({**fields, "root": hashlib.sha256(canonical(fields)).hexdigest()}))
    result = verify(tmp_path)
    assert f"chain: the manifest of {DAY} names" in result.stdout


def test_another_root_than_the_given_one_is_named(days: LandedDays, tmp_path: Path) -> None:
    days.copy_to(tmp_path)
    result = verify(tmp_path, "--root", "0" * 64)
    assert result.returncode == 1
    assert f"root: the last day has {root(days)}, you gave" in result.stdout


def test_a_folder_without_manifests_is_refused(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    result = verify(tmp_path)
    assert result.returncode == 2
    assert "there is no manifest" in result.stderr


def test_it_knows_every_field_of_a_manifest() -> None:
    """A field that both compute differently would change the root; a new field needs a new version."""
    assert set(Manifest.__struct_fields__) == {
        "version", "day", "topic", "topic_id", "data_prefix", "dead_letter_prefix", "audited_at", "previous",
        "partitions", "objects", "dead_letters", "rejects", "gaps", "layers", "findings", "replaces",
    }  # fmt: skip
