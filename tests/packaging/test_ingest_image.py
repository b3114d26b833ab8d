"""Tests docker/ingest.Dockerfile without Docker: its files and requirements go into a clean environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from tests.project_facts import UV

DOCKERFILE = PROJECT_ROOT / "docker" / "ingest.Dockerfile"
HADOLINT = PROJECT_ROOT / ".local" / "aws-lint" / "bin" / "hadolint"


def copied() -> list[tuple[list[str], str]]:
    """Sources and target of each COPY that goes into the image's /app."""
    lines = re.findall(r"^COPY (.+)$", DOCKERFILE.read_text(), re.MULTILINE)
    pairs = [line.split() for line in lines]
    return [(pair[:-1], pair[-1]) for pair in pairs if not pair[-1].startswith("/")]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The image's /app, and a Python that has only the image's locked requirements."""
    root = tmp_path_factory.mktemp("image")
    app, python = root / "app", root / "env" / "bin" / "python"
    for sources, target in copied():
        for source in sources:
            origin, goal = PROJECT_ROOT / source, app / target
            if origin.is_dir():
                shutil.copytree(origin, goal, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                goal.mkdir(parents=True, exist_ok=True)
                shutil.copy(origin, goal)
    venv.create(root / "env", with_pip=not UV.exists())
    lock = str(PROJECT_ROOT / "requirements" / "ingest.txt")
    install = (
        [str(UV), "pip", "install", "-q", "--python", str(python)]
        if UV.exists()
        else [str(python), "-m", "pip", "install", "-q", "--only-binary", ":all:"]
    )
    subprocess.run([*install, "--require-hashes", "-r", lock], check=True, timeout=300)
    return app, python


def run(image: tuple[Path, Path], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    app, python = image
    clean = {"PATH": os.environ["PATH"], "HOME": str(app)} | environment
    return subprocess.run(
        [str(python), *arguments], cwd=app, env=clean, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("path", ["docker/ingest.Dockerfile", "Dockerfile"])
def test_hadolint_has_no_finding(path: str) -> None:
    assert HADOLINT.exists(), "run: make .local/aws-lint/.made"
    lint = subprocess.run([str(HADOLINT), path], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60)
    assert (lint.returncode, lint.stdout) == (0, "")


def test_every_program_of_the_image_starts(image: tuple[Path, Path]) -> None:
    for command in ("consume", "produce", "create-topic", "replay"):
        result = run(image, "-m", "include.ingest", command, "--help")
        assert result.returncode == 0, result.stderr
    result = run(image, "-m", "include.aws", "deploy", "--help")
    assert result.returncode == 0, result.stderr


def test_every_module_of_the_image_imports(image: tuple[Path, Path]) -> None:
    app, _ = image
    names = [
        ".".join(path.relative_to(app).with_suffix("").parts)
        for path in app.rglob("*.py")
        if path.name not in {"__init__.py", "__main__.py"}
    ]
    result = run(image, "-c", "\n".join(f"import {name}" for name in names))
    assert result.returncode == 0, result.stderr


def test_the_image_has_neither_airflow_nor_dbt(image: tuple[Path, Path]) -> None:
    for name in ("airflow", "dbt", "duckdb", "pytest", "benchmarks"):
        assert run(image, "-c", f"import {name}").returncode == 1


def test_an_invalid_setting_is_named(image: tuple[Path, Path]) -> None:
    result = run(image, "-m", "include.ingest", "consume", CONSUMER_BATCH_RECORDS="none")
    assert result.returncode != 0
    assert "CONSUMER_BATCH_RECORDS" in result.stderr + result.stdout


def test_the_image_runs_without_root_or_shell_and_has_a_healthcheck() -> None:
    text = DOCKERFILE.read_text()
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["python", "-m", "include.ingest"\]$', text, re.MULTILINE)
    assert re.search(r'^CMD \["consume"\]$', text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert f"python:{sys.version_info[0]}." in text
