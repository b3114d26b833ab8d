"""A change of a fact in only one place turns a test red: catalogue, template, policies, settings, docs, code.

Each change is made in a copy of the project, and the test that pins the fact runs there.
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
    """A line of a file, its replacement, and the test that this turns red."""

    path: str
    line: str
    replacement: str
    red: str

    def __str__(self) -> str:
        return f"{Path(self.path).name}: {self.line.strip()[:40]}"


TEMPLATE = "include/aws/template.yaml"
MANIFEST = "deploy/kubernetes/consumer.yaml"
AIRFLOW_NOTICES = "- Sid: SendNotices\n            Effect: Allow\n            Action: "
TEMPLATE_TEST = "tests/aws/test_template.py"
POLICIES_TEST = "tests/aws/test_permissions.py"
GENERATED_TEST = "tests/unit/test_generated.py::test_every_part_is_up_to_date"
CHANGES = [
    Change("include/catalogue.py", "2 * 3600", "3 * 3600", TEMPLATE_TEST),
    Change("include/catalogue.py", "2 * 3600", "3 * 3600", GENERATED_TEST),
    Change(TEMPLATE, "    Default: 7200\n", "    Default: 3600\n", TEMPLATE_TEST),
    Change(TEMPLATE, '"value":${StaleGoldThreshold}', '"value":7200', GENERATED_TEST),
    Change(TEMPLATE, "        Name: crypto_raw_data\n", "        Name: raw_data\n", TEMPLATE_TEST),
    Change(TEMPLATE, f"{AIRFLOW_NOTICES}sns:Publish", f"{AIRFLOW_NOTICES}[sns:Publish, sns:Subscribe]", POLICIES_TEST),
    Change(
        "include/monitoring/checks/arrivals.py",
        "import annotations\n",
        "import annotations\n\n\ndef purge(s3):\n    s3.delete_object(Bucket='b', Key='k')\n\n",
        POLICIES_TEST,
    ),
    Change("include/ingest/cloudwatch.py", "window.errors", "window.batches", "tests/unit/ingest/test_cloudwatch.py"),
    Change("include/settings.py", '"crypto_data/", desc', '"quotes/", desc', TEMPLATE_TEST),
    Change("docs/settings.md", "`CONSUMER_BATCH_RECORDS` | `100`", "`CONSUMER_BATCH_RECORDS` | `10`", GENERATED_TEST),
    Change(
        "docs/aws-reference.md", "| `KafkaLagThreshold` | `1000` |", "| `KafkaLagThreshold` | `2000` |", GENERATED_TEST
    ),
    Change("docker-compose.override.yml", 'PORT: "9309"', 'PORT: "9310"', "tests/packaging/test_compose.py"),
    Change(MANIFEST, "PeriodSeconds: 60", "PeriodSeconds: 20", "tests/packaging/test_kubernetes.py"),
]


def run(root: Path, tests: list[str], change: Change | None = None) -> subprocess.CompletedProcess[str]:
    """Copy the project to `root`, make the change there, and run the tests."""
    for name in ("benchmarks", "dags", "deploy", "docker", "docs", "include", "plugins", "requirements", "tests"):
        shutil.copytree(PROJECT_ROOT / name, root / name, ignore=NOT_COPIED)
    for path in PROJECT_ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, root)
    (root / ".local").symlink_to(PROJECT_ROOT / ".local")  # the linters' environment
    if change:
        before = (root / change.path).read_text()
        assert change.line in before, f"{change.path} has no {change.line!r} any more: choose another line"
        (root / change.path).write_text(before.replace(change.line, change.replacement, 1))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    command += [f"--basetemp={root.parent / (root.name + '-temp')}"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_an_unchanged_copy_is_green(tmp_path: Path) -> None:
    """Otherwise a red test below would prove nothing."""
    result = run(tmp_path / "project", sorted({change.red for change in CHANGES}))
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[Change, Future[subprocess.CompletedProcess[str]]]:
    """The test run of each change; two run at a time."""
    folder = tmp_path_factory.mktemp("drift")
    with ThreadPoolExecutor(2) as pool:
        return {
            change: pool.submit(run, folder / str(number), [change.red], change)
            for number, change in enumerate(CHANGES)
        }


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_change_in_one_place_turns_a_test_red(
    change: Change, results: dict[Change, Future[subprocess.CompletedProcess[str]]]
) -> None:
    result = results[change].result()
    assert result.returncode == 1, result.stdout[-3000:]
    assert "1 failed" in result.stdout
