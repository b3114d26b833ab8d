"""`make report` writes the page of the running demo."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from rich.console import Console

from include.local import report
from include.local.emulator import CREDENTIALS
from include.local.process_control import ProcessControl
from include.local.stack import Demo, DemoError
from include.settings import LocalSettings

NOW = datetime(2026, 11, 30, 6, tzinfo=UTC)


def demo(state: Path) -> Demo:
    return Demo(LocalSettings(state=state), ProcessControl(state), Console(quiet=True))


@pytest.mark.servers
def test_the_report_is_in_s3_and_in_the_folder(
    bucket: str, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = CREDENTIALS | {"AWS_ENDPOINT_URL": s3, "AWS_DEFAULT_REGION": "us-east-1", "S3_BUCKET": bucket}
    monkeypatch.setattr(Demo, "values", values)
    address, file = report.write(demo(tmp_path), NOW)
    assert address == f"s3://{bucket}/state/report/2026-11-30.html"
    stored = boto3.client("s3").get_object(Bucket=bucket, Key="state/report/2026-11-30.html")["Body"].read().decode()
    assert file.read_text() == stored
    assert "<style>" in stored


def test_without_a_demo_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="no demo runs in"):
        report.write(demo(tmp_path), NOW)
