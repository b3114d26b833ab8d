"""Template and Kubernetes manifests as the linters see them: clean, or each exception is named and has its reason."""

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
"""(check, resource) that checkov leaves out; the reason stands beside the resource."""

Found = dict[str, list[dict[str, Any]]]


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
def checkov(weakened: tuple[Path, Path]) -> dict[Path, Found]:
    """What checkov says of each file. One run for all: it takes six seconds to start."""
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
    results = [one["results"] for one in json.loads(run.stdout)]
    assert not [error for one in results for error in one["parsing_errors"]]
    return {
        file: {
            kind: [
                check
                for one in results
                for check in one[f"{kind}_checks"]
                if Path(check["file_abs_path"]).resolve() == file.resolve()
            ]
            for kind in ("passed", "failed", "skipped")
        }
        for file in files
    }


@pytest.fixture(scope="module")
def cfn_lint(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """What cfn-lint says of the template, and of one with a word that AWS does not know; one run for both."""
    broken = tmp_path_factory.mktemp("misspelt") / "template.yaml"
    broken.write_text(TEMPLATE.read_text().replace("TreatMissingData: breaching", "TreatMissingData: alarming", 1))
    command: list[str | Path] = [program("cfn-lint"), "--format", "parseable", TEMPLATE, broken]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout.splitlines()
    of_broken = [line for line in lines if line.startswith(str(broken))]
    return [line for line in lines if line not in of_broken], of_broken


def test_cfn_lint_finds_nothing(cfn_lint: tuple[list[str], list[str]]) -> None:
    assert cfn_lint[0] == []


def test_cfn_lint_finds_what_is_wrong(cfn_lint: tuple[list[str], list[str]]) -> None:
    assert len(cfn_lint[1]) == 1
    assert "alarming" in cfn_lint[1][0]


def named(checks: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(one["check_id"], one["resource"].split(".")[-1]) for one in checks}


def test_checkov_finds_nothing_but_the_reasoned_exceptions(checkov: dict[Path, Found]) -> None:
    ours = [checkov[TEMPLATE], checkov[MANIFEST]]
    assert [named(found["failed"]) for found in ours] == [set(), set()]
    skipped = [check for found in ours for check in found["skipped"]]
    assert named(skipped) == EXCEPTIONS
    assert all(len(one["check_result"]["suppress_comment"]) > 30 for one in skipped)
    assert [len(found["passed"]) > 40 for found in ours] == [True, True]


def test_checkov_sees_a_bucket_that_is_opened(checkov: dict[Path, Found], weakened: tuple[Path, Path]) -> None:
    assert [one["resource"] for one in checkov[weakened[0]]["failed"]] == ["AWS::S3::Bucket.Bucket"]


def test_checkov_sees_a_root_that_is_opened(checkov: dict[Path, Found], weakened: tuple[Path, Path]) -> None:
    assert [one["check_id"] for one in checkov[weakened[1]]["failed"]] == ["CKV_K8S_22"]
