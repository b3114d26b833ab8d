"""docs/aws.md says what template, permissions and formula say."""

from __future__ import annotations

import re

import pytest

from include.aws import cost, reference
from include.aws.__main__ import main


def test_tables_are_up_to_date() -> None:
    assert reference.is_current(), "run: python -m include.aws render"


@pytest.mark.parametrize("row", ["| `KafkaLagThreshold` | `1000` |", "| Consumer | `s3:PutObject` | our code |"])
def test_a_row_changed_alone_is_noticed(row: str) -> None:
    text = reference.GUIDE.read_text()
    assert row in text
    assert reference.rendered(text.replace(row, "| changed |")) == text


def test_the_example_prints_what_the_guide_shows(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", reference.GUIDE.read_text(), re.DOTALL)
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
