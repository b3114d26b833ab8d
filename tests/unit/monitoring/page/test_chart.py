from __future__ import annotations

import re
from datetime import timedelta

import pytest

from include.catalogue import Unit
from include.monitoring.page import chart
from tests.unit.monitoring.page.states import NOW

HOUR = timedelta(hours=1)
TIMES = (NOW - HOUR, NOW)


def draw(*values: float | None, threshold: float | None = None, unit: Unit = "Count") -> chart.Chart:
    return chart.draw([("", values)], unit, TIMES, threshold, [])


def points(path: str) -> list[list[float]]:
    return [[float(number) for number in run.split()] for run in path.split("M") if run]


def test_a_value_lies_between_the_axis_and_its_top() -> None:
    drawn = draw(0, 50, 100)
    (numbers,) = points(drawn.lines[0].path)
    assert numbers[0::2] == [chart.LEFT, (chart.LEFT + chart.WIDTH - chart.RIGHT) / 2, chart.WIDTH - chart.RIGHT]
    assert numbers[1::2] == [chart.HEIGHT - chart.BOTTOM, (chart.TOP + chart.HEIGHT - chart.BOTTOM) / 2, chart.TOP]


def test_a_missing_value_leaves_a_gap() -> None:
    drawn = draw(1, 1, None, 1, 1)
    assert len(points(drawn.lines[0].path)) == 2
    assert drawn.lines[0].texts == ("1", "1", "", "1", "1")


def test_a_single_value_between_gaps_is_drawn() -> None:
    (numbers,) = points(draw(None, 5, None).lines[0].path)
    assert numbers[2] - numbers[0] == pytest.approx(1)


def test_without_a_value_the_chart_is_empty() -> None:
    drawn = draw(None, None)
    assert drawn.empty
    assert drawn.lines[0].newest == "no data"


def test_an_old_value_is_not_the_newest() -> None:
    assert draw(7, *[None] * 4).lines[0].newest == "no data"
    assert draw(7, *[None] * 3).lines[0].newest == "7"


def test_a_near_threshold_is_drawn_and_a_far_one_is_not() -> None:
    assert draw(900, threshold=1000).threshold_y is not None
    assert draw(3, threshold=1000).threshold_y is None


def test_the_threshold_is_below_the_top() -> None:
    drawn = draw(900, threshold=1000)
    assert drawn.threshold_y is not None
    assert drawn.threshold_y >= chart.TOP


@pytest.mark.parametrize(
    ("highest", "unit", "top"),
    [
        (1_400, "Count", "1,500"),
        (0.3, "Count", "0.3"),
        (400, "Seconds", "8 min"),
        (7_300, "Seconds", "3 h"),
        (0.2, "Seconds", "200 ms"),
    ],
)
def test_the_top_of_the_axis_is_a_round_number(highest: float, unit: Unit, top: str) -> None:
    assert draw(highest, unit=unit).y_marks[-1].text == top


def test_a_period_is_shaded_where_it_lies() -> None:
    half = chart.draw([("", [1.0])], "Count", TIMES, None, [(NOW - HOUR / 2, NOW)])
    (band,) = half.bands
    width = chart.WIDTH - chart.LEFT - chart.RIGHT
    assert band == (chart.LEFT + width / 2, width / 2)


def test_a_period_before_the_range_is_not_shaded() -> None:
    old = chart.draw([("", [1.0])], "Count", TIMES, None, [(NOW - 3 * HOUR, NOW - 2 * HOUR)])
    assert old.bands == ()


def test_a_short_period_can_be_seen() -> None:
    short = chart.draw([("", [1.0])], "Count", TIMES, None, [(NOW - HOUR / 2, NOW - HOUR / 2)])
    assert short.bands[0][1] == 1.5


@pytest.mark.parametrize(
    ("value", "unit", "rate", "text"),
    [
        (0.234, "Seconds", False, "234 ms"),
        (90, "Seconds", False, "90 s"),
        (1_234, "Count", False, "1,234"),
        (3.333, "Count", True, "3.33/s"),
        (0.031, "Percent", False, "0.031 %"),
        (2_500_000, "Bytes", False, "2.5 MB"),
    ],
)
def test_a_value_has_its_unit(value: float, unit: Unit, rate: bool, text: str) -> None:
    assert chart.text_of(value, unit, rate) == text


def test_a_sparkline_goes_from_its_least_to_its_greatest_value() -> None:
    (numbers,) = points(chart.spark([1.0, 2.0, 3.0], 100, 20))
    assert numbers[0::2] == [0, 50, 100]
    assert numbers[1::2] == [18, 10, 2]


def test_a_sparkline_of_equal_or_missing_values_is_drawn() -> None:
    assert re.fullmatch(r"M0.0 [\d.]+ 100.0 [\d.]+", chart.spark([2.0, 2.0], 100, 20))
    assert chart.spark([None, None], 100, 20) == ""
    assert chart.spark([1.0, None, 2.0], 100, 20).count("M") == 2
