"""The dbt manifest that Cosmos renders the DAGs from.

An image and `make` make it beforehand. A Git bundle is a bare checkout, and `astro dev start` lays the
host's `include/` over that of the image: there the project is parsed once for its content and target,
and the manifest kept under their digest, so that a new commit never meets the manifest of an older
one. Rendering by `dbt ls` instead asks dbt once a task group, which takes longer than Airflow lets a
DAG file take to import (30 s).
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from include.settings import DBT_PROJECT, PROJECT_ROOT, WarehouseSettings, load_group
from include.transform import dbt_connection

TARGET = DBT_PROJECT / "target"
MADE_BEFOREHAND = TARGET / "manifest.json"
SAVED_PARSE = "partial_parse.msgpack"
WRITTEN_BY_DBT = {"target", "logs", "__pycache__"}

log = logging.getLogger(__name__)


class ManifestError(RuntimeError):
    """The dbt project cannot be parsed; the text is dbt's."""


def project_files(project: Path) -> list[Path]:
    """Every file of the project, in order, without what dbt and Python write."""
    paths = (path for path in sorted(project.rglob("*")) if path.is_file())
    return [path for path in paths if not WRITTEN_BY_DBT & set(path.relative_to(project).parts)]


def content_digest(project: Path, target: str) -> str:
    """Changes with every file of the project, and with the target (macros may ask for it)."""
    digest = hashlib.sha256(target.encode())
    for path in project_files(project):
        digest.update(f"\0{path.relative_to(project)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def work_folder() -> Path:
    """Where dbt's work on the project is kept: its `target`, or the temporary folder where that may not be written.

    In the containers of `astro dev start` it may not: the project is a mount that belongs to the host's user.
    """
    if os.access(TARGET if TARGET.exists() else DBT_PROJECT, os.W_OK):
        return TARGET
    return Path(tempfile.gettempdir()) / f"crypto-lakehouse-dbt-{os.getuid()}"


def _is_current(manifest: Path) -> bool:
    """Whether it was made after the last change of the project: a host's folder may hold one of an older commit."""
    made = manifest.stat().st_mtime
    return all(path.stat().st_mtime <= made for path in project_files(DBT_PROJECT))


def manifest() -> Path:
    """The manifest of the project as it is now.

    Raises:
        ManifestError: there is none, and dbt cannot make one.
    """
    if MADE_BEFOREHAND.exists() and _is_current(MADE_BEFOREHAND):
        return MADE_BEFOREHAND
    digest = content_digest(DBT_PROJECT, load_group(WarehouseSettings).target)
    kept = work_folder() / "by_content" / f"{digest}.json"
    if not kept.exists():
        log.info("parsing the dbt project, as %s holds no manifest of it", TARGET)
        _parse(kept)
    return kept


def _parse(goal: Path) -> None:
    goal.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=goal.parent))
    try:
        parse_into(folder)
        for older in goal.parent.glob("*.json"):
            older.unlink(missing_ok=True)
        (folder / "manifest.json").replace(goal)
    finally:
        shutil.rmtree(folder)


def parse_into(folder: Path) -> None:
    """Let dbt parse the project and leave its artifacts in `folder`; faster when it holds those of an earlier parse.

    Raises:
        ManifestError: dbt cannot parse it.
    """
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "--log-level-file", "none", "parse"]
    command += ["--project-dir", str(DBT_PROJECT), "--target-path", str(folder), *dbt_connection.arguments()]
    paths = [str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(command, env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        raise ManifestError(f"dbt cannot parse {DBT_PROJECT}: {(run.stdout + run.stderr).strip()}")


def main() -> None:
    """`python -m include.transform.manifest FOLDER`: make the manifest beforehand, with dbt's work in FOLDER.

    With it goes dbt's saved parse, which spares the first task of each group a parse of its own. Both take their
    place at once: a DAG processor or a task of another stack on this checkout may be reading them.
    """
    folder = Path(sys.argv[1])
    parse_into(folder)
    TARGET.mkdir(exist_ok=True)
    for name in (SAVED_PARSE, MADE_BEFOREHAND.name):
        whole = Path(shutil.copy(folder / name, TARGET / f"{name}.{os.getpid()}"))
        whole.replace(TARGET / name)


if __name__ == "__main__":
    main()
