"""The results of benchmarks become the parts and charts of docs/performance.md."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from benchmarks import report, results
from benchmarks.__main__ import MODULES
from benchmarks.charts import CHARTS, bars, draw
from benchmarks.results import Result
from include.settings import PROJECT_ROOT

VALUES = {
    "100.cpu_us": 9.0, "100.messages_per_second.ours": 3000.0, "100.messages_per_second.native": 4000.0, "more": 0.25,
}  # fmt: skip
RESULT = Result(
    "landing", "2026-11-30", "2 x a core, 23 GiB", 0.3, {"Python": "3.11.2"}, VALUES, ("| a |",), {"drains": "<svg/>"}
)


def made(folder: Path, *kept: Result) -> str:
    """The page's text after `write` with these results."""
    page = folder / report.PAGE
    page.parent.mkdir()
    page.write_text((PROJECT_ROOT / report.PAGE).read_text())
    for result in kept:
        results.write(result, folder / "results")
    assert report.write(folder / "results", folder) == [result.name for result in kept]
    return page.read_text()


def part(page: str, name: str) -> str:
    """The lines between the marks of a part."""
    return page.split(f">>> {name} -->")[1].split(f"<!-- <<< {name} -->")[0]


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert results.read(results.write(RESULT, tmp_path)) == RESULT


def test_a_part_has_machine_versions_verdicts_tables_and_charts(tmp_path: Path) -> None:
    text = part(made(tmp_path, RESULT), "landing")
    assert "Measured on 2026-11-30 on 2 x a core, 23 GiB, load before: 0.3. Python 3.11.2." in text
    assert "| `100.cpu_us` |  | 9 |  | 8: not reached |" in text
    assert "\n| a |\n" in text
    assert "| `more` | 0.25 |" in text
    images = re.findall(r"!\[.+\]\((.+)\)", text)
    assert images == ["images/performance/drains.svg", "images/performance/landing-speed-100.svg"]
    assert all((tmp_path / "docs" / image).exists() for image in images)


def test_a_benchmark_without_a_result_keeps_its_part(tmp_path: Path) -> None:
    assert made(tmp_path) == (PROJECT_ROOT / report.PAGE).read_text()


def test_the_page_has_a_part_for_each_benchmark() -> None:
    marks = re.findall(r"^<!-- >>> (\w+) -->$", (PROJECT_ROOT / report.PAGE).read_text(), re.MULTILINE)
    assert marks == list(MODULES)
    assert {chart.benchmark for chart in CHARTS} == set(MODULES)


def test_a_chart_shows_the_longest_bar_for_the_highest_value() -> None:
    rows = bars(CHARTS[0], VALUES)
    assert rows == [("ours", 3000.0), ("native", 4000.0)]
    root = ElementTree.fromstring(draw("Speed & more", rows))  # noqa: S314 - our own text
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(each.attrib["width"]) for each in root.iter(f"{space}rect") if "bar" in each.attrib["class"]]
    assert widths[0] == 0.75 * widths[1]
    assert root.findtext(f"{space}title") == "Speed & more: ours 3,000, native 4,000"
