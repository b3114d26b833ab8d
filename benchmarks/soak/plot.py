"""What the picture of a run shows: the samples, and lines fitted to them after the warm-up. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.charts import Panel, draw_panels
from benchmarks.figures import Points
from benchmarks.soak.figures import WARM_UP, growth, line, objects, of_program, of_stack
from benchmarks.soak.judgement import AIRFLOW, OURS
from benchmarks.soak.samples import Process, Run, Sample
from include.catalogue import Unit
from include.local.programs import SERVERS


def svg(run: Run, samples: Sequence[Sample]) -> str:
    """The picture."""
    seconds = samples[-1].seconds
    title = f"Soak of {seconds / 60:.0f} minutes, {run.began_at[:10]}, {run.machine}"
    return draw_panels(title, panels(samples), seconds, WARM_UP)


def panels(samples: Sequence[Sample]) -> list[Panel]:
    """Everything that is drawn, ours first."""
    warehouse = of_stack(samples, lambda sample: sample.warehouse_bytes)
    return [
        *(_memory(samples, name) for name in OURS),
        Panel("lag, messages", "Count", (("lag", of_stack(samples, lambda sample: sample.lag)),)),
        _several(samples, "open file handles", OURS, lambda process: process.handles),
        _several(samples, "threads", OURS, lambda process: process.threads),
        _objects(samples),
        *(_memory(samples, name) for name in AIRFLOW),
        Panel("warehouse file", "Bytes", _with_fit(warehouse, samples[-1].seconds)),
        _several(samples, "memory of the servers", SERVERS, lambda process: process.rss, "Bytes"),
    ]


def _memory(samples: Sequence[Sample], program: str) -> Panel:
    memory = growth(samples, program).memory
    title = f"{program}: {memory.an_hour:+.1f} MB an hour" if memory else f"{program}: memory"
    points = of_program(samples, program, lambda each: each.rss)
    return Panel(title, "Bytes", _with_fit(points, samples[-1].seconds))


def _with_fit(points: Points, seconds: float) -> tuple[tuple[str, Points], ...]:
    """The points, and the line that is fitted to those after the warm-up."""
    after = [(hours, value) for hours, value in points if hours * 3600 >= WARM_UP * seconds]
    if (fit := line(after)) is None:
        return (("", points),)
    return (("", points), ("fit", [(hours, fit.first + fit.an_hour * (hours - after[0][0])) for hours, _ in after]))


def _several(
    samples: Sequence[Sample],
    title: str,
    programs: Sequence[str],
    value: Callable[[Process], int],
    unit: Unit = "Count",
) -> Panel:
    return Panel(title, unit, tuple((name, of_program(samples, name, value)) for name in programs))


def _objects(samples: Sequence[Sample]) -> Panel:
    prefixes = sorted({prefix for sample in samples for prefix in sample.objects or ()})
    return Panel("objects in S3", "Count", tuple((prefix, objects(samples, prefix)) for prefix in prefixes))
