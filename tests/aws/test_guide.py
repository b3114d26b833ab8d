"""docs/aws.md says what template, permissions and formula say."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from include.aws import cost
from include.aws.__main__ import main
from include.catalogue import CONDITIONS, LAYERS, METRICS
from include.settings import PROJECT_ROOT

GUIDE = PROJECT_ROOT / "docs" / "aws.md"


def test_the_example_prints_what_the_guide_shows(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    exec(found[1], {})  # noqa: S102 - our own guide
    assert capsys.readouterr().out == found[2]


def test_the_short_form_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "--compact"]) == 0
    assert capsys.readouterr().out.startswith('{"AWSTemplateFormatVersion"')


def test_cost_follows_its_formula() -> None:
    slow = cost.Load(messages_per_second=0.05, bytes_per_message=200, partitions=3)
    fast = cost.Load(messages_per_second=1000, bytes_per_message=200, partitions=12)
    assert cost.files(slow) == 0.05 * cost.MONTH_SECONDS  # never more files than messages
    assert cost.files(fast) == 1000 * cost.MONTH_SECONDS / 100
    idle = cost.Load(messages_per_second=0.5, bytes_per_message=200, partitions=3)
    assert cost.files(idle) == 3 * cost.MONTH_SECONDS / 60
    assert cost.monthly(slow)["transform (Athena)"] == pytest.approx(30 * 96 * 100 * 10e6 / 1e12 * 5)


def test_prices_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| `([A-Z3_]+)` \| ([0-9.]+) \| ([^|]+) \|", GUIDE.read_text(), re.MULTILINE)
    prices = {name: float(price) / (1000 if amount.startswith("1,000") else 1) for name, price, amount in rows}
    assert prices == {
        name: value
        for name, value in vars(cost).items()
        if name.isupper() and isinstance(value, float) and name not in {"MONTH_SECONDS", "ATHENA_LEAST_BYTES"}
    }


def test_the_example_adds_up_by_hand() -> None:
    """Each line of the guide's example, computed here from the guide's words and table, without the module."""
    month, minutes = 30 * 24 * 3600, 30 * 24 * 60
    messages = 0.05 * month  # 129,600: as many as three coins send in a minute each
    files = messages / 1  # 0.05 a second over three partitions: a batch is a minute old before it has a second record
    assert files == 3 * minutes
    ticks = minutes / 5
    metrics = {metric.name: len(LAYERS) if "Layer" in metric.dimensions else 1 for metric in METRICS.values()}
    consumers = sum(metric.publisher == "consumer" for metric in METRICS.values())
    expected = {
        "landing (S3 PUT)": files * 0.005 / 1000,
        "storage (S3)": 2 * messages * 200 * 12 / 1e9 * 0.023,
        "transform (Athena)": 30 * 24 * 4 * 100 * (10e6 / 1e12) * 5,
        "metrics (CloudWatch)": sum(metrics.values()) * 0.30 + (minutes + ticks) * 1e-5 + ticks * consumers * 1e-5,
        "alarms (CloudWatch)": sum(condition.alarm for condition in CONDITIONS.values()) * 0.10 + 0.50,
        "dashboard (CloudWatch)": 3.0,
    }
    text = GUIDE.read_text()
    for part, dollars in expected.items():
        assert f"{part:24}{dollars:8.2f}\n" in text, part
    assert f"{'sum, US dollars a month':24}{sum(expected.values()):8.2f}\n" in text


def test_the_file_of_settings_can_be_read(tmp_path: Path) -> None:
    """The guide's block, then a program of ours in the same shell; the first lines as `make deploy` prints them."""
    mark = "<!-- run by: tests/aws/test_guide.py::test_the_file_of_settings_can_be_read -->"
    text = GUIDE.read_text()
    block = textwrap.dedent(text.split(mark)[1].split("```sh\n")[1].split("   ```")[0])
    (tmp_path / "lakehouse.env").write_text("S3_BUCKET=my-crypto-lakehouse\nWAREHOUSE_DATABASE=crypto_lakehouse\n")
    ask = "from include.settings import load; s = load(); "
    ask += "print(s.storage.bucket, s.kafka.bootstrap_servers, *s.alert.emails)"
    shell = f"{block}\ncd {PROJECT_ROOT}\n{sys.executable} -c '{ask}'"
    ran = subprocess.run(["bash", "-euc", shell], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split() == ["my-crypto-lakehouse", "kafka.example.com:9092", "me@example.com"]


def test_alarms_that_are_on_before_data_flows_are_named() -> None:
    silent = [
        condition.name for condition in CONDITIONS.values() if condition.alarm and condition.missing == "breaching"
    ]
    text = GUIDE.read_text().split("7. **Look.**")[1].split("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", text)) == sorted(silent)
