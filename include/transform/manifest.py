"""The dbt manifest from which Cosmos renders the DAGs.

An image and `make` build it in advance. A Git bundle is a bare checkout, and `astro dev start` replaces the image's
`include/` by the host's. In both the project is parsed once for its content and target, and the manifest is kept under
their digest. A new commit therefore never uses the manifest of an older commit. The alternative, `dbt ls`, runs dbt
once for each task group, which takes longer than Airflow allows for the import of a DAG file (30 s).
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
BUILT_IN_ADVANCE = TARGET / "manifest.json"
SAVED_PARSE = "partial_parse.msgpack"
WRITTEN_BY_DBT = {"target", "logs", "__pycache__"}

log = logging.getLogger(__name__)


class ManifestError(RuntimeError):
    """The dbt project cannot be parsed; the text is dbt's."""


def project_files(project: Path) -> list[Path]:
    """Every file of the project, in order, without the files that dbt and Python write."""
    paths = (path for path in sorted(project.rglob("*")) if path.is_file())
    return [path for path in paths if not WRITTEN_BY_DBT & set(path.relative_to(project).parts)]


def content_digest(project: Path, target: str) -> str:
    """A digest that changes with every file of the project, and with the target, which macros may read."""
    digest = hashlib.sha256(target.encode())
    for path in project_files(project):
        digest.update(f"\0{path.relative_to(project)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def work_folder() -> Path:
    """The folder of dbt's work on the project: its `target`, or a temporary folder if `target` is not writable.

    In the containers of `astro dev start` it is not writable: the project is a mount that belongs to the host's user.
    """
    if os.access(TARGET if TARGET.exists() else DBT_PROJECT, os.W_OK):
        return TARGET
    return Path(tempfile.gettempdir()) / f"crypto-lakehouse-dbt-{os.getuid()}"


def _is_current(manifest: Path) -> bool:
    """Whether the manifest is newer than the project; a host's folder may contain the manifest of an older commit."""
    built_at = manifest.stat().st_mtime
    return all(path.stat().st_mtime <= built_at for path in project_files(DBT_PROJECT))


def manifest() -> Path:
    """The manifest of the project as it is now.

    Raises:
        ManifestError: there is no current manifest, and dbt cannot make one.
    """
    if BUILT_IN_ADVANCE.exists() and _is_current(BUILT_IN_ADVANCE):
        return BUILT_IN_ADVANCE
    digest = content_digest(DBT_PROJECT, load_group(WarehouseSettings).target)
    kept = work_folder() / "by_content" / f"{digest}.json"
    if not kept.exists():
        log.info("parsing the dbt project, because %s has no current manifest", TARGET)
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
    """Let dbt parse the project and write its artifacts to `folder`; artifacts of an earlier parse make it faster.

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
    """`python -m include.transform.manifest FOLDER`: build the manifest in advance, with dbt's work in FOLDER.

    It also copies dbt's saved parse, which saves the first task of each group a parse of its own. Both files are
    replaced atomically, because a DAG processor or a task of another stack may be reading them.
    """
    folder = Path(sys.argv[1])
    parse_into(folder)
    TARGET.mkdir(exist_ok=True)
    for name in (SAVED_PARSE, BUILT_IN_ADVANCE.name):
        copy = Path(shutil.copy(folder / name, TARGET / f"{name}.{os.getpid()}"))
        copy.replace(TARGET / name)


if __name__ == "__main__":
    main()
