"""Tests Dockerfile without Docker: its steps run in a clean environment that has only requirements.txt and Airflow.

requirements.txt does not pin every version. The test takes the others from the lock, so that it is repeatable; Astro
Runtime chooses its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from tests.project_facts import UV

DOCKERFILE = (PROJECT_ROOT / "Dockerfile").read_text()
DEV = (PROJECT_ROOT / "requirements" / "dev.in").read_text()
REQUIREMENTS = (PROJECT_ROOT / "requirements.txt").read_text()
RUNS_THERE = (
    *("transform", "state", "monitoring", "on_airflow", "landing", "dbt/plugins"),
    *("catalogue.py", "instants.py", "settings.py"),
)
"""Parts of include/ that DAGs and dbt import."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's folder in the image, beside the image's environment."""
    root = tmp_path_factory.mktemp("airflow-image")
    app, python = root / "app", root / "env" / "bin" / "python"
    ignored = shutil.ignore_patterns("__pycache__", "target", "logs")
    for name in ("dags", "include", "plugins"):
        shutil.copytree(PROJECT_ROOT / name, app / name, ignore=ignored)
    assert UV.exists(), "run: make env"
    subprocess.run([str(UV), "venv", "-q", "--python", sys.executable, str(root / "env")], check=True, timeout=60)
    [airflow] = re.findall(r"^apache-airflow==.*$", DEV, re.MULTILINE)
    install = [str(UV), "pip", "install", "-q", "--python", str(python), "-r", str(PROJECT_ROOT / "requirements.txt")]
    install += [airflow, "-c", str(PROJECT_ROOT / "requirements" / "dev.txt")]
    subprocess.run(install, check=True, timeout=600)
    return app


def run(image: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    programs = image.parent / "env" / "bin"
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(image.parent),
        "AIRFLOW_HOME": str(image.parent / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(image),
    } | dict(re.findall(r"^(?:ENV| {3}) ([A-Z_]+)=(\S+)", DOCKERFILE, re.MULTILINE))
    return subprocess.run(command, cwd=image, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_the_dockerfiles_step_makes_the_manifest(image: Path) -> None:
    [step] = re.findall(r"^RUN ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    result = run(image, ["bash", "-euc", step])
    assert result.returncode == 0, result.stdout + result.stderr
    assert (image / "include/dbt/target/manifest.json").exists()


def test_dags_and_plugins_import(image: Path) -> None:
    """DAGs use the manifest of the test before, as in the image. Each DAG file has the DAG of its name."""
    script = """
import pathlib, runpy, sys
from airflow.sdk import DAG
for path in sorted(pathlib.Path('dags').glob('*.py')):
    names = runpy.run_path(str(path))
    print(*[value.dag_id for value in names.values() if isinstance(value, DAG)])
sys.argv = ['airflow', 'scheduler']
for path in pathlib.Path('plugins').glob('*.py'):
    runpy.run_path(str(path))
from plugins.pipeline_health import PipelineHealthPlugin
assert [app['url_prefix'] for app in PipelineHealthPlugin().fastapi_apps] == ['/pipeline-health']
"""
    result = run(image, ["python", "-c", script])
    assert result.returncode == 0, result.stderr[-3000:]
    assert set(result.stdout.split()) >= {path.stem for path in (PROJECT_ROOT / "dags").glob("*.py")}
    assert "not preloaded" not in result.stderr
    assert "dbt's saved parse is not loaded in advance" not in result.stderr


def test_every_module_that_tasks_import_is_there(image: Path) -> None:
    """Tasks import inside functions, so the DAG files above load even when such a module is missing."""
    places = [image / "include" / part for part in RUNS_THERE]
    paths = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    names = [".".join(path.relative_to(image).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    assert "include.on_airflow.dead_letter_replay" in names
    result = run(image, ["python", "-c", "\n".join(f"import {name}" for name in names)])
    assert result.returncode == 0, result.stderr[-3000:]


def test_the_image_has_no_package_of_the_tests(image: Path) -> None:
    for name in ("pytest", "supervisor", "aiosmtpd", "promql_parser"):
        assert run(image, ["python", "-c", f"import {name}"]).returncode == 1, name


def test_the_base_image_has_the_airflow_version_of_the_tests() -> None:
    [runtime] = re.findall(r"^FROM .*/runtime:(\d+\.\d+)-\d+-python-3\.12$", DOCKERFILE, re.MULTILINE)
    assert f"apache-airflow=={runtime}." in DEV


def test_the_files_that_the_base_image_copies_exist() -> None:
    """The base image's ONBUILD steps copy these two files by name. A build without these files fails."""
    ignored = (PROJECT_ROOT / ".dockerignore").read_text().split()
    for name in ("packages.txt", "requirements.txt"):
        assert (PROJECT_ROOT / name).is_file()
        assert name not in ignored


def test_every_requirement_is_pinned() -> None:
    lines = [line for line in REQUIREMENTS.splitlines() if line and not line.startswith("#")]
    assert len(lines) > 10
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line) for line in lines)
