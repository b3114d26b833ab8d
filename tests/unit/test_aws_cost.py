"""docs/aws-cost.md agrees with the formula and its prices."""

from __future__ import annotations

import re

import pytest

from benchmarks import aws_cost
from include.catalogue import CONDITIONS, LAYERS, METRICS
from include.settings import PROJECT_ROOT, WarehouseSettings

PAGE = (PROJECT_ROOT / "docs" / "aws-cost.md").read_text()


def test_the_example_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    example = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    exec(example[1], {})  # noqa: S102 - our own page
    assert capsys.readouterr().out == example[2]


def test_cost_follows_its_formula() -> None:
    slow = aws_cost.Load(messages_per_second=0.05, bytes_per_message=200, partitions=3)
    fast = aws_cost.Load(messages_per_second=1000, bytes_per_message=200, partitions=12)
    assert aws_cost.files(slow) == 0.05 * aws_cost.MONTH_SECONDS  # never more files than messages
    assert aws_cost.files(fast) == 1000 * aws_cost.MONTH_SECONDS / 100
    idle = aws_cost.Load(messages_per_second=0.5, bytes_per_message=200, partitions=3)
    assert aws_cost.files(idle) == 3 * aws_cost.MONTH_SECONDS / 60
    assert aws_cost.monthly(slow)["transform (Athena)"] == pytest.approx(30 * 96 * 122 * 10e6 / 1e12 * 5)


def test_prices_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| `([A-Z3_]+)` \| ([0-9.]+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    prices = {name: float(price) / (1000 if amount.startswith("1,000") else 1) for name, price, amount in rows}
    assert prices == {
        name: value
        for name, value in vars(aws_cost).items()
        if name.isupper() and isinstance(value, float) and name not in {"MONTH_SECONDS", "ATHENA_LEAST_BYTES"}
    }


def test_the_example_adds_up_by_hand() -> None:
    """Each line of the page's example, computed here from the page's words and table, without the module."""
    month, minutes = 30 * 24 * 3600, 30 * 24 * 60
    messages = 0.05 * month  # 129,600: each of three coins sends one message a minute
    files = messages / 1  # 0.05 a second over three partitions: a batch is a minute old before it has a second record
    assert files == 3 * minutes
    monitor_runs = minutes / 5
    metrics = {metric.name: len(LAYERS) if "Layer" in metric.dimensions else 1 for metric in METRICS.values()}
    consumers = sum(metric.publisher == "consumer" for metric in METRICS.values())
    expected = {
        "landing (S3 PUT)": files * 0.005 / 1000,
        "storage (S3)": 2 * messages * 200 * 12 / 1e9 * 0.023,
        "transform (Athena)": 30 * 24 * 4 * 122 * (10e6 / 1e12) * 5,
        "metrics (CloudWatch)": sum(metrics.values()) * 0.30
        + (minutes + monitor_runs) * 1e-5
        + monitor_runs * consumers * 1e-5,
        "alarms (CloudWatch)": sum(condition.alarm for condition in CONDITIONS.values()) * 0.10 + 0.50,
        "dashboard (CloudWatch)": 3.0,
    }
    for part, dollars in expected.items():
        assert f"{part:24}{dollars:8.2f}\n" in PAGE, part
    assert f"{'sum, US dollars a month':24}{sum(expected.values()):8.2f}\n" in PAGE


def test_the_table_of_floors_follows_the_formula() -> None:
    rows = re.findall(r"^\| (\d+) min[^|]*\| ([\d,]+) s \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \|", PAGE, re.MULTILINE)
    assert [row[0] for row in rows] == ["1", "2", "5", "15", "60"]
    for floor, wait, runs, queries, dollars in rows:
        seconds = int(floor) * 60
        load = aws_cost.Load(0.05, 200, 3, transform_seconds=seconds)
        assert int(wait.replace(",", "")) == aws_cost.wait_p95(seconds)
        assert int(runs.replace(",", "")) == 24 * 3600 / seconds
        assert int(queries.replace(",", "")) == 24 * 3600 / seconds * aws_cost.QUERIES
        assert dollars == f"{aws_cost.monthly(load)['transform (Athena)']:.2f}"


def test_the_default_start_costs_no_more_than_a_cron_of_15_minutes() -> None:
    defaults = WarehouseSettings.model_fields
    runs = min(24 * 3600 / defaults["transform_floor_seconds"].default, defaults["transform_runs_per_day"].default)
    assert runs <= 24 * 4


def test_the_cost_of_idle_looks_is_that_of_the_page() -> None:
    poll = WarehouseSettings.model_fields["transform_poll_seconds"].default
    assert f"cost {aws_cost.idle_looks(poll):.2f} US dollars a month" in PAGE
