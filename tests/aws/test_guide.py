"""docs/aws.md and docs/aws-reference.md agree with template, permissions and catalogue."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from include.aws.__main__ import main
from include.catalogue import CONDITIONS
from include.settings import PROJECT_ROOT

GUIDE = (PROJECT_ROOT / "docs" / "aws.md").read_text()


def test_the_compact_template_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "--compact"]) == 0
    assert capsys.readouterr().out.startswith('{"AWSTemplateFormatVersion"')


def test_the_file_of_settings_can_be_read(tmp_path: Path) -> None:
    """Run the guide's block, then load the settings in the same shell. `make deploy` prints such a file."""
    mark = "<!-- run by: tests/aws/test_guide.py::test_the_file_of_settings_can_be_read -->"
    block = textwrap.dedent(GUIDE.split(mark)[1].split("```sh\n")[1].split("   ```")[0])
    (tmp_path / "lakehouse.env").write_text("S3_BUCKET=my-crypto-lakehouse\nWAREHOUSE_DATABASE=crypto_lakehouse\n")
    script = "from include.settings import load; s = load(); "
    script += "print(s.storage.bucket, s.kafka.bootstrap_servers, *s.alert.emails)"
    shell = f"{block}\ncd {PROJECT_ROOT}\n{sys.executable} -c '{script}'"
    run = subprocess.run(["bash", "-euc", shell], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["my-crypto-lakehouse", "kafka.example.com:9092", "me@example.com"]


def test_the_guide_names_alarms_that_are_on_before_data_flows() -> None:
    silent = [
        condition.name for condition in CONDITIONS.values() if condition.alarm and condition.missing == "breaching"
    ]
    text = GUIDE.split("7. **Look.**")[1].split("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", text)) == sorted(silent)
