"""Every generated part of a file is what `make generate` writes, and a change on either side is noticed."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import MODULES
from include import generated
from include.aws import template_parts
from include.catalogue import CONDITIONS, METRICS
from include.generated import PARTS, MarkError, Part, renewed
from include.settings import PROJECT_ROOT

ROWS = Part("page.md", "rows", lambda: ("| a |", "| b |"))
MEASURED = [Part("docs/performance.md", name, ROWS.lines) for name in MODULES]
"""Written by `python -m benchmarks.report`: figures are measured, not derived."""
PAGE = "By hand.\n<!-- >>> rows -->\n{}<!-- <<< rows -->\n<!-- >>> rows_of_another -->\nBy hand.\n"


def test_every_part_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert generated.main(["--check"]) == 0, capsys.readouterr().err


def test_every_mark_belongs_to_a_part() -> None:
    names = subprocess.run(
        ["git", "ls-files", "*.md", "*.yaml", "*.sql"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    marks = {
        (name, mark)
        for name in names
        for mark in re.findall(r"^ *(?:<!--|#|\{#-) >>> ([\w-]+)", (PROJECT_ROOT / name).read_text(), re.MULTILINE)
    }
    assert marks == {(part.file, part.name) for part in (*PARTS, *MEASURED) if part.name}


@pytest.mark.parametrize("part", MEASURED, ids=lambda part: part.name)
def test_a_benchmark_finds_its_marks(part: Part) -> None:
    page = (PROJECT_ROOT / part.file).read_text()
    assert renewed(page, part).count("\n| a |\n| b |\n") == 1


@pytest.mark.parametrize("before", ["", "| a |\n", "| a |\n| b |\n| c |\n"])
def test_a_part_is_renewed_and_the_rest_stays(before: str) -> None:
    assert renewed(PAGE.format(before), ROWS) == PAGE.format("| a |\n| b |\n")


@pytest.mark.parametrize("mark", [">>> rows -->", "<<< rows -->"])
def test_a_lost_mark_is_an_error(mark: str) -> None:
    with pytest.raises(MarkError, match=re.escape("page.md needs the marks '>>> rows' and '<<< rows' once each")):
        renewed(PAGE.replace(mark, "-->"), ROWS)


def test_check_names_file_and_part_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.format(""))
    monkeypatch.setattr(generated, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(generated, "PARTS", (ROWS,))
    assert generated.main(["--check"]) == 1
    assert capsys.readouterr().err == "page.md: rows is out of date: run make generate\n"
    assert page.read_text() == PAGE.format("")
    assert generated.main([]) == 0
    assert page.read_text() == PAGE.format("| a |\n| b |\n")
    assert generated.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("file", "line", "changed"),
    [
        ("include/aws/template.yaml", "TreatMissingData: breaching", "TreatMissingData: notBreaching"),
        ("include/aws/template.yaml", "Threshold: !Ref KafkaLagThreshold", "Threshold: 1000"),
        ("include/aws/template.yaml", "    Default: 1000\n", "    Default: 2000\n"),
        ("include/aws/template.yaml", "      EvaluationPeriods: 3\n", "      EvaluationPeriods: 2\n"),
        ("include/aws/template.yaml", "      MetricName: MonitorHeartbeat\n", "      MetricName: Heartbeat\n"),
        ("include/aws/template.yaml", '"SumOffsetLag"', '"OffsetLag"'),
        ("include/aws/template.yaml", '"value":${StaleGoldThreshold}', '"value":7200'),
        ("include/aws/template.yaml", 'ALARM("${UploadErrorsAlarm}") OR', ""),
        ("docs/aws-reference.md", "| `KafkaLagThreshold` | `1000` |", "| changed |"),
        ("docs/aws-reference.md", "| `s3:DeleteObject` | dbt-athena, Athena |", "| changed |"),
        ("docs/monitoring.md", "| `kafka_lag` | > 1,000 |", "| changed |"),
        ("docs/settings.md", "| `KAFKA_TOPIC` | `selected_crypto_data` |", "| changed |"),
    ],
)
def test_a_line_changed_by_hand_is_noticed(file: str, line: str, changed: str) -> None:
    text = (PROJECT_ROOT / file).read_text()
    assert line in text
    broken = text.replace(line, changed, 1)
    for part in PARTS:
        if part.file == file:
            broken = renewed(broken, part)
    assert broken == text


def parts_to_write(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """File and name of the parts that the check names."""
    capsys.readouterr()
    assert generated.main(["--check"]) == 1
    return {line.split(" is out of date")[0] for line in capsys.readouterr().err.splitlines()}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"threshold": 5000}, "thresholds"),
        ({"missing": "breaching"}, "alarms"),
        ({"periods": 2}, "alarms"),
        ({"severity": "warning"}, "alarms"),
        ({"title": "Lag"}, "dashboard"),
    ],
)
def test_a_change_of_a_condition_is_noticed(
    change: dict[str, Any], part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CONDITIONS, "kafka_lag", replace(CONDITIONS["kafka_lag"], **change))
    assert f"include/aws/template.yaml: {part}" in parts_to_write(capsys)


def test_a_condition_taken_out_is_noticed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # A new dictionary keeps the order for the other tests: a deleted key would come back as the last key.
    rest = {name: condition for name, condition in CONDITIONS.items() if name != "kafka_lag"}
    monkeypatch.setattr(template_parts, "CONDITIONS", rest)
    template = {f"include/aws/template.yaml: {name}" for name in ("thresholds", "alarms", "dashboard")}
    assert parts_to_write(capsys) == template


def test_a_change_of_a_metric_is_noticed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(METRICS, "BatchSize", replace(METRICS["BatchSize"], name="BatchRecords"))
    of_cloudwatch = {"include/aws/template.yaml: dashboard", "docs/monitoring.md: metrics"}
    of_prometheus = {"deploy/grafana/crypto_lakehouse.json: file", "docs/prometheus.md: pipeline"}
    assert parts_to_write(capsys) == of_cloudwatch | of_prometheus


@pytest.mark.parametrize("change", [{"missing": "breaching"}, {"periods": 2}, {"severity": "warning"}, {"title": "L"}])
def test_a_change_of_a_condition_is_noticed_in_its_alert_rule(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CONDITIONS, "kafka_lag", replace(CONDITIONS["kafka_lag"], **change))
    assert "deploy/prometheus/crypto_lakehouse.rules.yaml: file" in parts_to_write(capsys)
