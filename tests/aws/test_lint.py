"""The linters find nothing in the template and the Kubernetes manifests, except listed exceptions with a reason."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from include.aws.document import TEMPLATE
from include.settings import PROJECT_ROOT

PROGRAMS = PROJECT_ROOT / ".local" / "aws-lint" / "bin"
MANIFEST = PROJECT_ROOT / "deploy" / "kubernetes" / "consumer.yaml"

EXCEPTIONS = {
    ("CKV_AWS_18", "Bucket"),
    ("CKV_AWS_82", "Workgroup"),
    ("CKV_AWS_26", "AlertTopic"),
    ("CKV_K8S_11", "crypto-lakehouse-consumer"),
    ("CKV_K8S_35", "crypto-lakehouse-consumer"),
    ("CKV_K8S_43", "crypto-lakehouse-consumer"),
}
"""(check, resource) that checkov skips; the reason is beside the resource."""

Results = dict[str, list[dict[str, Any]]]


def program(name: str) -> Path:
    path = PROGRAMS / name
    assert path.exists(), f"{path.relative_to(PROJECT_ROOT)} is missing: run make .local/aws-lint/.made"
    return path


@pytest.fixture(scope="module")
def weakened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A template with an open bucket, and a manifest whose container may write to its root."""
    folder = tmp_path_factory.mktemp("weakened")
    template, manifest = folder / "template.yaml", folder / "consumer.yaml"
    template.write_text(TEMPLATE.read_text().replace("BlockPublicAcls: true", "BlockPublicAcls: false"))
    manifest.write_text(MANIFEST.read_text().replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"))
    return template, manifest


@pytest.fixture(scope="module")
def checkov(weakened: tuple[Path, Path]) -> dict[Path, Results]:
    """Checkov's results for each file. One run covers all files, because checkov takes six seconds to start."""
    files = [TEMPLATE, MANIFEST, *weakened]
    command: list[str | Path] = [
        program("checkov"),
        "--framework",
        "cloudformation",
        "kubernetes",
        "--skip-download",
        "-o",
        "json",
    ]
    for file in files:
        command += ["-f", file]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    results = [report["results"] for report in json.loads(run.stdout)]
    assert not [error for result in results for error in result["parsing_errors"]]
    return {
        file: {
            kind: [
                check
                for result in results
                for check in result[f"{kind}_checks"]
                if Path(check["file_abs_path"]).resolve() == file.resolve()
            ]
            for kind in ("passed", "failed", "skipped")
        }
        for file in files
    }


@pytest.fixture(scope="module")
def cfn_lint(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """Cfn-lint's findings for the template, and for a copy with an unknown word. One run covers both."""
    broken = tmp_path_factory.mktemp("misspelt") / "template.yaml"
    broken.write_text(TEMPLATE.read_text().replace("TreatMissingData: breaching", "TreatMissingData: alarming", 1))
    command: list[str | Path] = [program("cfn-lint"), "--format", "parseable", TEMPLATE, broken]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout.splitlines()
    of_broken = [line for line in lines if line.startswith(str(broken))]
    return [line for line in lines if line not in of_broken], of_broken


def test_cfn_lint_has_no_finding(cfn_lint: tuple[list[str], list[str]]) -> None:
    assert cfn_lint[0] == []


def test_cfn_lint_finds_an_unknown_word(cfn_lint: tuple[list[str], list[str]]) -> None:
    assert len(cfn_lint[1]) == 1
    assert "alarming" in cfn_lint[1][0]


def names(checks: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(check["check_id"], check["resource"].split(".")[-1]) for check in checks}


def test_checkov_finds_only_exceptions_with_a_reason(checkov: dict[Path, Results]) -> None:
    results = [checkov[TEMPLATE], checkov[MANIFEST]]
    assert [names(result["failed"]) for result in results] == [set(), set()]
    skipped = [check for result in results for check in result["skipped"]]
    assert names(skipped) == EXCEPTIONS
    assert all(len(check["check_result"]["suppress_comment"]) > 30 for check in skipped)
    assert [len(result["passed"]) > 40 for result in results] == [True, True]


def test_checkov_finds_an_open_bucket(checkov: dict[Path, Results], weakened: tuple[Path, Path]) -> None:
    assert [check["resource"] for check in checkov[weakened[0]]["failed"]] == ["AWS::S3::Bucket.Bucket"]


def test_checkov_finds_a_writable_root(checkov: dict[Path, Results], weakened: tuple[Path, Path]) -> None:
    assert [check["check_id"] for check in checkov[weakened[1]]["failed"]] == ["CKV_K8S_22"]
