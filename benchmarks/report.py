"""`python -m benchmarks.report` writes docs/performance.md and its charts from the results of `make bench`.

The page has a part for each benchmark. A part is written when its result is in .local/bench/results, else it stays as
it is, so that benchmarks can be renewed one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from textwrap import fill

from benchmarks import results
from benchmarks.charts import CHARTS, bars, draw
from benchmarks.figures import bounds_table, judge, markdown, number
from benchmarks.results import Result
from include.generated import Part, renewed
from include.settings import PROJECT_ROOT

PAGE = Path("docs") / "performance.md"
IMAGES = Path("images") / "performance"
COLUMNS = 120
"""The longest line that `tests.prose` allows on the page."""


def charts(result: Result) -> dict[str, tuple[str, str]]:
    """File name -> title and SVG of each chart that has figures, and of the result's own pictures."""
    drawn = {chart: bars(chart, result.values) for chart in CHARTS if chart.benchmark == result.name}
    own = {f"{name}.svg": (f"The run of {result.date}", svg) for name, svg in result.pictures.items()}
    return own | {
        f"{chart.benchmark}-{chart.name}.svg": (chart.title, draw(chart.title, rows))
        for chart, rows in drawn.items()
        if rows
    }


def lines(result: Result, bounds: str) -> Iterable[str]:
    """The Markdown lines of a benchmark's part."""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    judged = judge(bounds, result.name, result.values)
    others = result.values.keys() - {bound.figure for bound in judged}
    rows = [(f"`{name}`", number(value)) for name, value in result.values.items() if name in others]
    measured = f"Measured on {result.date} on {result.machine}, load before: {result.load:g}. {versions}."
    parts = [fill(measured, COLUMNS, break_on_hyphens=False), bounds_table(judged), *result.tables]
    parts += [f"![{title}]({(IMAGES / name).as_posix()})" for name, (title, _) in charts(result).items()]
    if rows:
        parts += ["<details><summary>All other figures</summary>", markdown(("figure", "measured"), rows), "</details>"]
    return ["", "\n\n".join(parts), ""]


def write(folder: Path = results.RESULTS, root: Path = PROJECT_ROOT) -> list[str]:
    """Renew the parts that have a result; returns their names."""
    page, images = root / PAGE, root / PAGE.parent / IMAGES
    found = [results.read(file) for file in sorted(folder.glob("*.json"))]
    text, bounds = page.read_text(), results.BOUNDS.read_text()
    images.mkdir(parents=True, exist_ok=True)
    for result in found:
        text = renewed(text, Part(PAGE.as_posix(), result.name, partial(lines, result, bounds)))
        for name, (_, svg) in charts(result).items():
            (images / name).write_text(svg)
    page.write_text(text)
    return [result.name for result in found]


if __name__ == "__main__":
    names = write()
    print(f"{PAGE}: {', '.join(names) or 'no result: run make bench'}")
