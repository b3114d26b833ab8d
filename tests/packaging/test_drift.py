"""Catalogue, template, dashboard, policies, settings, documents, code: change a line of one alone, and a test is red.

Each change is made in a copy of the project, and the test file that holds the fact is run there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT

NOT_COPIED = shutil.ignore_patterns("__pycache__", "target", "logs", "images")


@dataclass(frozen=True, slots=True)
class Change:
    path: str
    line: str
    becomes: str
    red: str

    def __str__(self) -> str:
        return f"{Path(self.path).name}: {self.line.strip()[:40]}"


TEMPLATE = "include/aws/template.yaml"
MANIFEST = "deploy/kubernetes/consumer.yaml"
AIRFLOWS_NOTICES = "- Sid: SendNotices\n            Effect: Allow\n            Action: "
TEMPLATES_TEST = "tests/aws/test_template.py"
POLICIES_TEST = "tests/aws/test_permissions.py"
GUIDES_TEST = "tests/aws/test_guide.py"
SETTINGS_TEST = "tests/unit/test_settings.py"
CHANGES = [
    Change("include/catalogue.py", "2 * 3600", "3 * 3600", TEMPLATES_TEST),
    Change("include/catalogue.py", "2 * 3600", "3 * 3600", "tests/unit/monitoring/test_reference.py"),
    Change(TEMPLATE, "    Default: 7200\n", "    Default: 3600\n", TEMPLATES_TEST),
    Change(TEMPLATE, '"value":${StaleGoldThreshold}', '"value":7200', TEMPLATES_TEST),
    Change(TEMPLATE, "        Name: crypto_raw_data\n", "        Name: raw_data\n", TEMPLATES_TEST),
    Change(
        TEMPLATE, f"{AIRFLOWS_NOTICES}sns:Publish", f"{AIRFLOWS_NOTICES}[sns:Publish, sns:Subscribe]", POLICIES_TEST
    ),
    Change(
        "include/monitoring/checks/arrivals.py",
        "import annotations\n",
        "import annotations\n\n\ndef purge(s3):\n    s3.delete_object(Bucket='b', Key='k')\n\n",
        POLICIES_TEST,
    ),
    Change(
        "include/ingest/cloudwatch.py", '"UploadErrors":', '"FailedUploads":', "tests/unit/ingest/test_observability.py"
    ),
    Change("include/settings.py", '"crypto_data/", desc', '"quotes/", desc', TEMPLATES_TEST),
    Change("docs/settings.md", "`CONSUMER_BATCH_RECORDS` | `100`", "`CONSUMER_BATCH_RECORDS` | `10`", SETTINGS_TEST),
    Change(
        "docs/aws-reference.md", "| `KafkaLagThreshold` | `1000` |", "| `KafkaLagThreshold` | `2000` |", GUIDES_TEST
    ),
    Change("docker-compose.override.yml", 'PORT: "9309"', 'PORT: "9310"', "tests/packaging/test_compose.py"),
    Change(MANIFEST, "PeriodSeconds: 60", "PeriodSeconds: 20", "tests/packaging/test_kubernetes.py"),
]


def run(root: Path, tests: list[str], change: Change | None = None) -> subprocess.CompletedProcess[str]:
    """Copy the project to `root`, change the line, run the tests there."""
    for name in ("dags", "deploy", "docker", "docs", "include", "plugins", "requirements", "tests"):
        shutil.copytree(PROJECT_ROOT / name, root / name, ignore=NOT_COPIED)
    for path in PROJECT_ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, root)
    (root / ".local").symlink_to(PROJECT_ROOT / ".local")  # the linters' environment
    if change:
        before = (root / change.path).read_text()
        assert change.line in before, f"{change.path} has no {change.line!r} any more: choose another line"
        (root / change.path).write_text(before.replace(change.line, change.becomes, 1))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    command += [f"--basetemp={root.parent / (root.name + '-temp')}"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_unchanged_they_are_green(tmp_path: Path) -> None:
    """All files at once: else every red one below would say nothing."""
    answer = run(tmp_path / "project", sorted({change.red for change in CHANGES}))
    assert answer.returncode == 0, answer.stdout[-3000:]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[Change, Future[subprocess.CompletedProcess[str]]]:
    """What the test says of each change; two at a time."""
    folder = tmp_path_factory.mktemp("drift")
    with ThreadPoolExecutor(2) as pool:
        return {
            change: pool.submit(run, folder / str(number), [change.red], change)
            for number, change in enumerate(CHANGES)
        }


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_line_changed_alone_turns_a_test_red(
    change: Change, answers: dict[Change, Future[subprocess.CompletedProcess[str]]]
) -> None:
    answer = answers[change].result()
    assert answer.returncode == 1, answer.stdout[-3000:]
    assert "1 failed" in answer.stdout
