"""The suites of a change: each file of the project has a rule, and a suite runs for all that it imports."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from tests.changed import SUITES, SUITES_OF, changed, main, rule, suites


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


FILES = git(PROJECT_ROOT, "ls-files").splitlines()


def test_every_file_has_a_rule() -> None:
    """Add it to `SUITES_OF`: which suites would notice a fault in it?"""
    assert [path for path in FILES if rule(path) is None] == []


def test_every_rule_decides_for_a_file() -> None:
    assert SUITES_OF.keys() - {rule(path) for path in FILES} == set()


def test_every_suite_of_make_test_is_known() -> None:
    [listed] = re.findall(r"^SUITES := (.*)$", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(listed.split()) == set(SUITES)
    assert {suite for rules in SUITES_OF.values() for suite in rules.split()} == set(SUITES)


@cache
def imported(path: str) -> set[str]:
    """The modules of the project that a module imports."""
    found = set()
    for node in ast.walk(ast.parse((PROJECT_ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {f"{name.replace('.', '/')}.py" for name in names}
    return found & set(FILES)


def used_by(suite: str) -> Iterator[str]:
    """The files that the suite's modules import, and those that modules of tests/ import for them."""
    waiting = [path for path in FILES if path.startswith(f"tests/{suite}/") and path.endswith(".py")]
    seen = set(waiting)
    while waiting:
        for path in imported(waiting.pop()) - seen:
            seen.add(path)
            yield path
            if path.startswith("tests/"):
                waiting.append(path)


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_runs_when_a_module_that_it_imports_changes(suite: str) -> None:
    assert [path for path in used_by(suite) if suite not in suites([path])] == []


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_runs_when_its_own_tests_change(suite: str) -> None:
    own = [path for path in FILES if path.startswith(f"tests/{suite}/")]
    assert own
    assert all(suite in suites([path]) for path in own)


def test_an_unknown_path_runs_everything() -> None:
    assert suites(["no/such/room.py"]) == list(SUITES)


def test_the_longest_beginning_decides() -> None:
    assert suites(["include/aws/deploy.py"]) == ["unit", "athena", "packaging", "dags", "aws"]
    assert suites(["include/aws/sizing/plan.py"]) == ["unit", "packaging"]


def test_a_change_of_nothing_runs_the_unit_tests() -> None:
    assert suites([]) == ["unit"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository on a branch, whose main went on."""
    git(tmp_path, "init", "-q", "-b", "main")
    for name in ("kept", "edited", "deleted", "staged"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".gitignore").write_text("ignored\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    git(tmp_path, "checkout", "-qb", "branch")
    git(tmp_path, "checkout", "-q", "main")
    (tmp_path / "of main").write_text("not of the branch")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "second")
    git(tmp_path, "checkout", "-q", "branch")
    return tmp_path


def test_a_change_is_committed_staged_edited_deleted_or_new(clone: Path) -> None:
    assert changed(clone) == []
    (clone / "committed").write_text("")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "third")
    (clone / "staged").write_text("other")
    git(clone, "add", ".")
    (clone / "edited").write_text("other")
    (clone / "deleted").unlink()
    (clone / "ignored").write_text("")
    (clone / "näw").write_text("")
    assert changed(clone) == ["committed", "deleted", "edited", "näw", "staged"]


def test_without_main_everything_runs(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(clone, "branch", "-qm", "main", "renamed")
    monkeypatch.chdir(clone)
    main()
    printed = capsys.readouterr()
    assert printed.out.split() == list(SUITES)
    assert "neither main nor origin/main" in printed.err


def test_a_path_without_a_rule_is_named(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (clone / "unknown").write_text("")
    monkeypatch.chdir(clone)
    main()
    printed = capsys.readouterr()
    assert printed.out.split() == list(SUITES)
    assert "unknown has no rule" in printed.err
