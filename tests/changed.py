"""Names the suites that a change concerns: `make test-changed` runs them, `make test-changed PRINT=1` prints them.

A change is every file that differs from the last commit on main that the branch has, committed or not. On main itself
it is what is not committed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

SUITES = (
    "unit", "compatibility", "integration", "athena", "scheduler", "packaging", "warehouse", "dags", "aws", "chaos",
)  # fmt: skip
"""The folders of tests/ that `make test` runs."""

EVERYTHING = " ".join(SUITES)

SUITES_OF = {
    # What every suite uses. A path that has no rule has the same effect.
    "pyproject.toml": EVERYTHING,
    "include/__init__.py": EVERYTHING,
    "include/settings.py": EVERYTHING,
    "include/local/broker.py": EVERYTHING,
    "include/local/emulator.py": EVERYTHING,
    "include/local/kafka/": EVERYTHING,
    "requirements/dev.": EVERYTHING,
    "requirements/emulator.": EVERYTHING,
    "tests/__init__.py": EVERYTHING,
    "tests/conftest.py": EVERYTHING,
    "tests/policy_guard.py": EVERYTHING,
    "tests/servers.py": EVERYTHING,
    "tests/aws/api_calls.py": EVERYTHING,  # part of the policy guard
    # The rooms.
    "dags/": "integration scheduler packaging dags",
    "plugins/": "integration scheduler packaging dags",
    "include/assets.py": "integration scheduler warehouse dags",
    "include/audit/": "integration athena packaging warehouse dags chaos",
    "include/aws/": "athena packaging dags aws",
    "include/aws/sizing/": "packaging",
    "include/catalogue.py": "integration scheduler packaging warehouse dags aws",
    "include/dbt/": "integration athena scheduler packaging warehouse dags aws",
    "include/generated.py": "packaging",
    "include/ingest/": "compatibility integration scheduler packaging aws chaos",
    "include/ingest/commits.py": "compatibility integration scheduler packaging warehouse aws chaos",
    "include/ingest/quote.py": "compatibility integration athena scheduler packaging warehouse chaos",
    "include/ingest/topic.py": "compatibility integration scheduler packaging warehouse aws chaos",
    "include/instants.py": "compatibility integration athena scheduler warehouse dags chaos",
    "include/landing/": "compatibility integration athena scheduler packaging warehouse dags chaos",
    "include/local/": "integration scheduler packaging dags",
    "include/local/jar": "integration athena packaging",
    "include/local/java.py": "integration athena packaging",
    "include/meanings.py": "integration scheduler dags",
    "include/monitoring/": "compatibility integration scheduler packaging dags aws chaos",
    "include/monitoring/page/": "compatibility scheduler packaging dags",
    "include/monitoring/prometheus/": "scheduler packaging dags",
    "include/msk_iam.py": "integration",
    "include/on_airflow/": "compatibility integration scheduler packaging warehouse dags",
    "include/on_airflow/query_cancel.py": "athena dags",
    "include/on_airflow/rebuild_progress.py": "athena dags",
    "include/reasons.py": "integration scheduler packaging dags",
    "include/settings_reference.py": "packaging aws",
    "include/state/": "compatibility integration scheduler packaging warehouse dags",
    "include/transform/": "compatibility integration athena scheduler packaging warehouse dags aws",
    # Tests, and what suites share. tests/unit always runs.
    "tests/airflow_connections.py": "integration scheduler dags",
    "tests/athena/": "athena",
    "tests/aws/": "aws",
    "tests/changed.py": "",
    "tests/chaos/": "integration warehouse aws chaos",
    "tests/chaos/proxy.py": "integration scheduler chaos",
    "tests/compatibility/": "compatibility",
    "tests/dags/": "dags",
    "tests/incidents/": "scheduler",
    "tests/integration/": "integration",
    "tests/integration/ingest/stage.py": "integration warehouse",
    "tests/laptop_stack.py": "integration scheduler",
    "tests/packaging/": "packaging",
    "tests/project_facts.py": "packaging aws",
    "tests/prose.py": "",
    "tests/quote_service.py": "integration warehouse",
    "tests/scheduler/": "scheduler",
    "tests/stalls.py": "integration",
    "tests/unit/": "",
    "tests/unit/audit/landed_days.py": "dags",
    "tests/unit/ingest/memory_bucket.py": "dags",
    "tests/warehouse/": "warehouse",
    "tests/warehouse/audited_day.py": "athena warehouse",
    "tests/warehouse/extra_fields.py": "athena warehouse",
    "tests/warehouse/landed_topic.py": "athena packaging warehouse",
    "tests/warehouse/times_of_quotes.py": "athena warehouse",
    "tests/warehouse/warehouse.py": "athena warehouse dags",
    # Pages. tests/packaging runs their commands; the other suites run the examples of a page.
    "CHANGELOG.md": "packaging",
    "CONTRIBUTING.md": "packaging",
    "README.md": "packaging",
    "docs/": "packaging dags",
    "docs/aws.md": "packaging dags aws",
    "docs/bi-readers.md": "packaging warehouse dags",
    "docs/dbt-tests.md": "packaging warehouse dags",
    "docs/images/": "",
    # Images, packages, and what is installed from them.
    ".airflowignore": "packaging dags",
    ".astro/": "packaging",
    ".ci/": "packaging",
    ".dockerignore": "packaging",
    ".gitignore": "packaging",
    "Dockerfile": "packaging",
    "Makefile": "packaging",
    "airflow_settings.yaml": "integration scheduler packaging dags",
    "deploy/": "packaging",
    "deploy/kubernetes/": "packaging aws",
    "docker-compose.override.yml": "packaging",
    "docker/": "packaging",
    "packages.txt": "packaging",
    "requirements.txt": "packaging",
    "requirements/aws-lint.": "packaging aws",
    "requirements/ingest.": "packaging",
    # Linters read them, GitHub, or a person.
    ".editorconfig": "",
    ".github/": "",
    ".pre-commit-config.yaml": "",
    ".sqlfluff": "",
    "LICENSE": "",
    "benchmarks/": "",
    "benchmarks/README.md": "packaging",
    "requirements/quix.": "",
}
"""Beginning of a path -> the suites beside tests/unit. The longest beginning decides."""


def rule(path: str) -> str | None:
    """The beginning in `SUITES_OF` that decides for the path; None if no beginning fits."""
    return max((beginning for beginning in SUITES_OF if path.startswith(beginning)), key=len, default=None)


def suites(paths: Iterable[str]) -> list[str]:
    """The suites that a change of these paths concerns, in the order of `SUITES`."""
    chosen = {"unit"}
    for path in paths:
        beginning = rule(path)
        chosen.update((EVERYTHING if beginning is None else SUITES_OF[beginning]).split())
    return [suite for suite in SUITES if suite in chosen]


def git(*arguments: str, folder: Path) -> str | None:
    """What git printed; None if it refused."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def changed(folder: Path) -> list[str]:
    """The paths that differ from where the branch left main, and the files that git does not know.

    Raises:
        LookupError: there is no main, and no origin/main.
    """
    bases = (git("merge-base", "HEAD", main, folder=folder) for main in ("main", "origin/main"))
    base = next((found.strip() for found in bases if found), None)
    if base is None:
        raise LookupError("git finds neither main nor origin/main")
    differing = git("diff", "--name-only", "--no-renames", "-z", base, folder=folder) or ""
    unknown = git("ls-files", "--others", "--exclude-standard", "-z", folder=folder) or ""
    return sorted(path for path in (differing + unknown).split("\0") if path)


def main() -> None:
    """Print the suites, separated by spaces. They are all suites if git cannot say what changed."""
    try:
        paths = changed(Path.cwd())
    except LookupError as error:
        sys.stderr.write(f"test-changed: every suite runs, because {error}\n")
        sys.stdout.write(f"{EVERYTHING}\n")
        return
    for path in paths:
        if rule(path) is None:
            sys.stderr.write(f"test-changed: every suite runs, because {path} has no rule in tests/changed.py\n")
    sys.stdout.write(" ".join(suites(paths)) + "\n")


if __name__ == "__main__":
    main()
