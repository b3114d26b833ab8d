"""Writes the catalogue's tables into docs/monitoring.md: `python -m include.monitoring.reference`."""

from __future__ import annotations

import re
from pathlib import Path

from include.catalogue import CONDITIONS, METRICS
from include.monitoring.checks.judge import quantity
from include.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "monitoring.md"

_EVENTS = {"task_failed": "a task fails", "run_late": "a run misses its deadline"}
"""What breaches a condition without a metric."""


def conditions_table() -> str:
    """One row a condition."""
    rows = [
        "| condition | breached when | for | severity | metric | runbook |",
        "|---|---|---|---|---|---|",
    ]
    for one in CONDITIONS.values():
        limit = _EVENTS.get(one.name) or f"{one.comparison} {quantity(one, one.threshold)}"
        metric = "" if one.metric is None else f"`{one.metric}`" + (f" ({one.layer})" if one.layer else "")
        periods = "1 period" if one.periods == 1 else f"{one.periods} periods"
        link = f"[{one.title}](runbooks/{one.runbook})"
        rows.append(f"| `{one.name}` | {limit} | {periods} | {one.severity} | {metric} | {link} |")
    return "\n".join(rows)


def metrics_table() -> str:
    """One row a metric."""
    rows = ["| metric | unit | statistic | published by | every | meaning |", "|---|---|---|---|---|---|"]
    rows += [
        f"| `{one.name}` | {one.unit} | {one.statistic} | {one.publisher} | {one.publish_seconds} s | {one.meaning} |"
        for one in METRICS.values()
    ]
    return "\n".join(rows)


def with_tables(page: str) -> str:
    """The page with both tables between their marks."""
    for mark, table in (("conditions", conditions_table()), ("metrics", metrics_table())):
        pattern = re.compile(f"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
        page = pattern.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", page)  # type: ignore[misc]
    return page


def main(page: Path = PAGE) -> None:
    """Bring the page up to date."""
    page.write_text(with_tables(page.read_text()))


if __name__ == "__main__":
    main()
