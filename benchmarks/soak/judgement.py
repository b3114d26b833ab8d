"""Compares the figures of a run with their bounds, and writes the tables. Pure functions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.landing.figures import markdown
from benchmarks.soak.figures import Flow, Growth, Line, flow, growth
from benchmarks.soak.samples import Run, Sample
from include.assets import coins

OURS = ("consumer", "producer")
AIRFLOW = ("airflow-scheduler", "airflow-triggerer", "airflow-dag-processor", "airflow-api")
MOST_MB_AN_HOUR = 1.0
MOST_GROWN = 1.0
"""A fitted line of handles or threads rises by less than one. A pool that opens and closes makes a line rise too."""
MOST_LAG_SECONDS = 60.0
"""The demo lands a record after ten seconds at most; the rest is for a busy machine."""
BATCH_RECORDS, BATCH_SECONDS = 100, 10.0
"""A file is closed at each multiple of so many records, and when it has been open for so long. Set in `rig`."""
MOST_WAREHOUSE_BYTES = 1000.0
"""Bytes of the warehouse's file for each landed record, in all layers together."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure and its bound; `measured` is None when the run was too short or nothing answered."""

    about: str
    figure: str
    most: float
    measured: float | None

    @property
    def verdict(self) -> str:
        """The verdict for the table."""
        if self.measured is None:
            return "not measured"
        return "met" if self.measured <= self.most else "MISSED"


def of_program(program: str, grown: Growth) -> list[Bound]:
    """The bounds of a program."""
    return [
        Bound(program, "memory, MB an hour", MOST_MB_AN_HOUR, grown.memory.an_hour if grown.memory else None),
        Bound(program, "more handles", MOST_GROWN, grown.handles.rise if grown.handles else None),
        Bound(program, "more threads", MOST_GROWN, grown.threads.rise if grown.threads else None),
        Bound(program, "restarts", 0.0, grown.restarts),
    ]


def of_stack(found: Flow) -> list[Bound]:
    """The bounds of what the programs do together."""
    return [
        Bound("lag", "the most, seconds", MOST_LAG_SECONDS, found.lag_seconds),
        Bound("mails", "in the whole run", 0.0, found.mails),
        Bound("landed files", "an hour", most_files(found.records_an_hour), found.objects_an_hour),
        Bound("state objects", "more", MOST_GROWN, found.state_objects_grown),
        Bound("warehouse", "bytes a record", MOST_WAREHOUSE_BYTES, found.warehouse_bytes_a_record),
    ]


def most_files(records_an_hour: float | None) -> float:
    """Files an hour, if each record lands in a batch that was full or old. Each coin has a partition."""
    return (records_an_hour or 0.0) / BATCH_RECORDS + len(coins()) * 3600 / BATCH_SECONDS


def ours(samples: Sequence[Sample]) -> list[Bound]:
    """The bounds that `make soak` demands."""
    bounds = [bound for name in OURS for bound in of_program(name, growth(samples, name))]
    return bounds + of_stack(flow(samples))


def airflow(samples: Sequence[Sample]) -> list[Bound]:
    """The same bounds for Airflow's processes, whose code is not ours. They decide nothing."""
    return [bound for name in AIRFLOW for bound in of_program(name, growth(samples, name))]


def growth_table(samples: Sequence[Sample], programs: Iterable[str]) -> str:
    """Memory, handles and threads of programs as a Markdown table, from the end of the warm-up to the end."""
    header = ("program", "memory (RSS)", "MB an hour", "handles", "threads", "restarts", "bounds")
    rows = []
    for program in programs:
        grown = growth(samples, program)
        missed = [f"{each.figure}: {each.verdict}" for each in of_program(program, grown) if each.verdict != "met"]
        rows.append(
            (
                program, _ends(grown.memory, " MB"), f"{grown.memory.an_hour:+.2f}" if grown.memory else "-",
                _ends(grown.handles), _ends(grown.threads), str(grown.restarts), "; ".join(missed) or "met",
            )
        )  # fmt: skip
    return markdown(header, rows)


def _ends(fitted: Line | None, unit: str = "") -> str:
    return f"{fitted.first:.1f} to {fitted.last:.1f}{unit}" if fitted else "-"


def flow_table(bounds: Iterable[Bound]) -> str:
    """Bounds of the stack as a Markdown table."""
    rows = [
        (each.about, each.figure, f"{each.most:,.0f}", "-" if each.measured is None else f"{each.measured:,.2f}",
         each.verdict)
        for each in bounds
    ]  # fmt: skip
    return markdown(("what", "figure", "at most", "measured", "verdict"), rows)


def conditions(run: Run, samples: Sequence[Sample]) -> str:
    """When and where it was measured, in words."""
    loads = [sample.load for sample in samples]
    rate, runs = flow(samples).messages_a_second, max((sample.transform_runs or 0 for sample in samples), default=0)
    return textwrap.fill(
        f"Measured on {run.began_at[:10]} on {run.machine}, {run.versions}: {samples[-1].seconds / 60:.0f} minutes, "
        f"{len(samples)} samples, {f'{rate:.0f}' if rate else '?'} messages a second, "
        f"{runs} runs of the transform, load {min(loads):g} to {max(loads):g}.",
        width=120,
    )
