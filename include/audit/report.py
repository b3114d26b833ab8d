"""The result of a run in words: for the console and the task's log, and for the state object."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from include.audit.run import DayResult, Result
from include.state.audited import MOST_LINES, Audited


def lines(result: Result) -> Iterator[str]:
    """One line for each day, and one for each finding."""
    for day in result.days:
        state = f"root {day.root}" if day.root else _waiting(day)
        found = f"{len(day.findings)} findings" if day.findings else "ok"
        yield f"{day.day}: {found}; {day.objects} objects, {day.read} read; {state}"
    findings = result.all_findings()
    yield from (finding.line() for finding in findings)
    yield f"{len(findings)} findings" if findings else "nothing is missing, doubled, altered or out of place"


def audited(result: Result, now: datetime) -> Audited:
    """The state object of a run."""
    findings = result.all_findings()
    chained = [day for day in result.days if day.root]
    waiting = next((f"{day.day}: {_waiting(day)}" for day in result.days if not day.root), "")
    return Audited(
        at=now,
        day=chained[-1].day.isoformat() if chained else "",
        root=chained[-1].root or "" if chained else "",
        days=[day.day.isoformat() for day in result.days],
        findings=len(findings),
        lines=[finding.line() for finding in findings[:MOST_LINES]],
        waiting=waiting,
    )


def _waiting(day: DayResult) -> str:
    if day.still_open:
        numbers = ", ".join(map(str, day.still_open))
        return f"no manifest yet: partitions {numbers} may still get objects of this day"
    return "no manifest: the day before has none, or it cannot be read"
