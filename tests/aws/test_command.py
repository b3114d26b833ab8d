"""`python -m include.aws` from the command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from include.settings import PROJECT_ROOT
from tests.aws.conftest import Names


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "include.aws", *arguments],
        cwd=PROJECT_ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.servers
def test_deploy_shows_its_work_and_destroy_says_what_stays(names: Names) -> None:
    """Deploy prints the changes, the progress, and settings that can be copied."""
    unconfirmed = command("deploy", "--stack", names.stack)
    assert unconfirmed.returncode == 1
    assert "add --yes" in unconfirmed.stderr

    first = command("deploy", "--stack", names.stack, "--yes", "--parameter", "KafkaLagThreshold=5000")
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert any(line.split()[:2] == ["Add", "KafkaLagAlarm"] for line in lines)
    assert any(line.split()[:2] == ["CREATE_COMPLETE", "KafkaLagAlarm"] for line in lines)
    assert f"S3_BUCKET={names.bucket}" in lines
    assert f"WAREHOUSE_WORKGROUP={names.workgroup}" in lines

    second = command("deploy", "--stack", names.stack)
    assert second.returncode == 0, second.stderr
    assert "No change" in second.stdout
    assert f"S3_BUCKET={names.bucket}" in second.stdout

    destroy = command("destroy", "--stack", names.stack, "--yes")
    assert destroy.returncode == 0, destroy.stderr
    assert f"Stack {names.stack} is deleted." in destroy.stdout
    assert "There is no stack" in command("destroy", "--stack", names.stack, "--yes").stdout


def test_missing_credentials_are_reported_in_one_line() -> None:
    run = command("deploy", "--yes", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", HOME="/nonexistent")
    assert run.returncode == 1
    assert run.stderr.startswith("No AWS credentials")
    assert "Traceback" not in run.stderr


def test_a_parameter_without_a_value_is_refused() -> None:
    run = command("deploy", "--parameter", "KafkaLagThreshold")
    assert run.returncode == 2
    assert "NAME=VALUE" in run.stderr
