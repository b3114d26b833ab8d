"""The figures of a run by the names of benchmarks/bounds.toml, and its tables. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.figures import Values, markdown
from benchmarks.soak.figures import Flow, Growth, Line, flow, growth
from benchmarks.soak.samples import Run, Sample
from include.assets import coins

OURS = ("consumer", "producer")
AIRFLOW = ("airflow-scheduler", "airflow-triggerer", "airflow-dag-processor", "airflow-api")
"""Their code is not ours, so they have no bounds."""
BATCH_RECORDS, BATCH_SECONDS = 100, 10.0
"""A file is closed at each multiple of so many records, and when it has been open for so long. Set in `rig`."""


def values(samples: Sequence[Sample]) -> Values:
    """The figures of all programs and of the stack; one that needs more samples, or an answer, is left out."""
    found = of_stack(flow(samples))
    for name in (*OURS, *AIRFLOW):
        found |= {f"{name}.{figure}": value for figure, value in of_program(growth(samples, name)).items()}
    return {name: float(value) for name, value in found.items() if value is not None}


def of_program(grown: Growth) -> dict[str, float | None]:
    """Growth of a program by its fitted lines. A pool that opens and closes makes a line rise by less than one."""
    return {
        "memory_mb_an_hour": grown.memory.an_hour if grown.memory else None,
        "more_handles": grown.handles.rise if grown.handles else None,
        "more_threads": grown.threads.rise if grown.threads else None,
        "restarts": grown.restarts,
    }


def of_stack(found: Flow) -> dict[str, float | None]:
    """What the programs do together; lag and files over what full and old batches make."""
    return {
        "lag_over_batch_age": None if found.lag_seconds is None else found.lag_seconds / BATCH_SECONDS,
        "mails": found.mails,
        "files_over_batches": (
            None if found.objects_an_hour is None else found.objects_an_hour / most_files(found.records_an_hour)
        ),
        "more_state_objects": found.state_objects_grown,
        "warehouse_bytes_a_record": found.warehouse_bytes_a_record,
    }


def most_files(records_an_hour: float | None) -> float:
    """Files an hour, if each record lands in a batch that was full or old. Each coin has a partition."""
    return (records_an_hour or 0.0) / BATCH_RECORDS + len(coins()) * 3600 / BATCH_SECONDS


def growth_table(samples: Sequence[Sample], programs: Iterable[str]) -> str:
    """Memory, handles and threads of programs as a Markdown table, from the end of the warm-up to the end."""
    rows = []
    for program in programs:
        grown = growth(samples, program)
        an_hour = f"{grown.memory.an_hour:+.2f}" if grown.memory else "-"
        lines = (_ends(grown.memory, " MB"), an_hour, _ends(grown.handles), _ends(grown.threads))
        rows.append((program, *lines, str(grown.restarts)))
    return markdown(("program", "memory (RSS)", "MB an hour", "handles", "threads", "restarts"), rows)


def _ends(fitted: Line | None, unit: str = "") -> str:
    return f"{fitted.first:.1f} to {fitted.last:.1f}{unit}" if fitted else "-"


def conditions(run: Run, samples: Sequence[Sample]) -> str:
    """When it began, and what ran, in words."""
    loads = [sample.load for sample in samples]
    rate, runs = flow(samples).messages_a_second, max((sample.transform_runs or 0 for sample in samples), default=0)
    return (
        f"Began at {run.began_at[:16]}Z: {samples[-1].seconds / 60:.0f} minutes, {len(samples)} samples, "
        f"{f'{rate:.0f}' if rate else '?'} messages a second, {runs} runs of the transform, "
        f"load {min(loads):g} to {max(loads):g}."
    )
