"""The template as the linters see it: clean, or each exception named here with its reason in the template."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from include.aws.render import TEMPLATE
from include.settings import PROJECT_ROOT

PROGRAMS = PROJECT_ROOT / ".local" / "aws-lint" / "bin"

EXCEPTIONS = {("CKV_AWS_18", "Bucket"), ("CKV_AWS_82", "Workgroup"), ("CKV_AWS_26", "AlertTopic")}
"""(check, resource) that checkov leaves out; the reason stands beside the resource."""


def program(name: str) -> Path:
    path = PROGRAMS / name
    assert path.exists(), f"{path.relative_to(PROJECT_ROOT)} is missing: run make .local/aws-lint/.made"
    return path


def checkov(template: Path) -> dict[str, Any]:
    command = [
        str(program("checkov")),
        "-f",
        str(template),
        "--framework",
        "cloudformation",
        "--skip-download",
        "-o",
        "json",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    found: dict[str, Any] = json.loads(run.stdout)["results"]
    return found


def cfn_lint(template: Path) -> str:
    return subprocess.run([program("cfn-lint"), template], capture_output=True, text=True, timeout=120).stdout


def test_cfn_lint_finds_nothing() -> None:
    assert cfn_lint(TEMPLATE) == ""


def test_cfn_lint_finds_what_is_wrong(tmp_path: Path) -> None:
    broken = tmp_path / "template.yaml"
    broken.write_text(TEMPLATE.read_text().replace("TreatMissingData: breaching", "TreatMissingData: alarming", 1))
    assert "alarming" in cfn_lint(broken)


def test_checkov_finds_nothing_but_the_reasoned_exceptions() -> None:
    found = checkov(TEMPLATE)
    assert [(one["check_id"], one["resource"]) for one in found["failed_checks"]] == []
    assert not found["parsing_errors"]
    skipped = {(one["check_id"], one["resource"].split(".")[-1]) for one in found["skipped_checks"]}
    assert skipped == EXCEPTIONS
    assert all(len(one["check_result"]["suppress_comment"]) > 30 for one in found["skipped_checks"])
    assert len(found["passed_checks"]) > 40


def test_checkov_sees_a_bucket_that_is_opened(tmp_path: Path) -> None:
    broken = tmp_path / "template.yaml"
    broken.write_text(TEMPLATE.read_text().replace("BlockPublicAcls: true", "BlockPublicAcls: false"))
    assert [one["resource"] for one in checkov(broken)["failed_checks"]] == ["AWS::S3::Bucket.Bucket"]
