"""A plan in words; tests/unit/test_generated.py compares the page's tables."""

from __future__ import annotations

import pytest

from include.aws.sizing import page
from include.aws.sizing.plan import Demand, plan


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0029, "0.00"), (0.1, "0.10"), (9.999, "10.0"), (35.06, "35.1"), (779.4, "779"), (43_512, "43,500")],
)
def test_a_figure_has_three_digits(value: float, text: str) -> None:
    assert page._round(value) == text


def test_a_small_load_sets_nothing() -> None:
    assert page.settings(plan(Demand(0.05))) == {}
    assert page.text(plan(Demand(0.05))).endswith("Settings that are not the defaults:\n  none")


def test_a_large_load_names_every_setting_and_what_nobody_measured() -> None:
    made = plan(Demand(1e6, 2_000, 600))
    assert set(page.settings(made)) == {
        "create-topic --partitions", "CONSUMER_BATCH_RECORDS", "CONSUMER_BATCH_AGE_SECONDS",
        "CONSUMER_MAX_BUFFER_BYTES", "WAREHOUSE_TRANSFORM_FLOOR_SECONDS", "WAREHOUSE_TRANSFORM_RUNS_PER_DAY",
        "WAREHOUSE_TRANSFORM_POLL_SECONDS", "test_window_days", "QueryCutoffBytes", "replicas", "memory limit",
        "PRODUCER_KEY",
    }  # fmt: skip
    text = page.text(made)
    for words in ("new files", "pages of the last hour", "largest query reads"):
        assert words in text


def test_the_page_has_each_order_of_magnitude_up_to_a_million() -> None:
    assert page.ORDERS == (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
    table = list(page.orders())
    assert all(line.count("|") == len(page.ORDERS) + 2 for line in table)
    assert len(list(page.changes())) == len(page.ORDERS) + 2
