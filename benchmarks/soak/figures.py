"""Turns the samples of a run into figures. Pure functions.

A line is fitted by least squares to the samples after the warm-up, so no single sample decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression

from benchmarks.figures import Points
from benchmarks.soak.samples import Process, Sample

WARM_UP = 0.25
"""This share of the run is not judged: imports, pools of connections and the allocator's first free memory."""
FEWEST_SAMPLES = 10
"""With fewer samples after the warm-up a slope says nothing, so the figure stays unknown."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of least squares: its value at the first and the last point, and its growth an hour."""

    first: float
    last: float
    an_hour: float

    @property
    def rise(self) -> float:
        """Growth from the first point to the last."""
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Growth:
    """A program after the warm-up. Its memory (RSS) is in MB; `restarts` are those of the whole run.

    A line is None with too few samples, or when no process lasted.
    """

    memory: Line | None
    handles: Line | None
    threads: Line | None
    restarts: int


@dataclass(frozen=True, slots=True)
class Flow:
    """The stack after the warm-up. None with too few samples.

    `lag_seconds` is the largest lag over the rate. `warehouse_bytes_a_record` is the growth of the file over that of
    the landed records. `mails` are those of the whole run.
    """

    messages_a_second: float | None
    lag_seconds: float | None
    mails: int
    records_an_hour: float | None
    objects_an_hour: float | None
    state_objects_grown: float | None
    warehouse_bytes_a_record: float | None


def after_warm_up(samples: Sequence[Sample]) -> list[Sample]:
    """The samples that are judged."""
    end = samples[-1].seconds if samples else 0.0
    return [sample for sample in samples if sample.seconds >= WARM_UP * end]


def line(points: Points) -> Line | None:
    """The line of least squares; None with too few points."""
    if len(points) < FEWEST_SAMPLES:
        return None
    hours, values = zip(*points, strict=True)
    slope = linear_regression(hours, values).slope
    middle, value = fmean(hours), fmean(values)
    return Line(value + slope * (hours[0] - middle), value + slope * (hours[-1] - middle), slope)


def of_program(samples: Sequence[Sample], program: str, value: Callable[[Process], int]) -> Points:
    """The sum of a value over the program's lasting processes, in each sample that has all of them.

    Lasting are those that are in every sample after the warm-up. Short ones, as of a task, come and go.
    """
    by_sample = [{(each.pid, each.started): each for each in sample.programs.get(program, [])} for sample in samples]
    judged = by_sample[len(samples) - len(after_warm_up(samples)) :]
    lasting = set.intersection(*(set(processes) for processes in judged)) if judged else set()
    return [
        (sample.seconds / 3600, float(sum(value(processes[key]) for key in lasting)))
        for sample, processes in zip(samples, by_sample, strict=True)
        if lasting and lasting <= set(processes)
    ]


def of_stack(samples: Sequence[Sample], value: Callable[[Sample], float | None]) -> Points:
    """A value of each sample that has one."""
    values = ((sample.seconds / 3600, value(sample)) for sample in samples)
    return [(hours, number) for hours, number in values if number is not None]


def objects(samples: Sequence[Sample], prefix: str) -> Points:
    """Number of the bucket's objects below a first folder."""
    return of_stack(samples, lambda each: None if each.objects is None else each.objects.get(prefix, 0))


def growth(samples: Sequence[Sample], program: str) -> Growth:
    """The figures of a program."""
    after = after_warm_up(samples)
    roots = {(each[0].pid, each[0].started) for sample in samples if (each := sample.programs.get(program))}
    return Growth(
        line([(hours, size / 1e6) for hours, size in of_program(after, program, lambda each: each.rss)]),
        line(of_program(after, program, lambda each: each.handles)),
        line(of_program(after, program, lambda each: each.threads)),
        len(roots) - 1,
    )


def flow(samples: Sequence[Sample]) -> Flow:
    """The figures of the stack."""
    after = after_warm_up(samples)
    produced = line(of_stack(after, lambda each: each.produced))
    landed = line(of_stack(after, lambda each: each.landed))
    data, state = line(objects(after, "crypto_data")), line(objects(after, "state"))
    warehouse = line(of_stack(after, lambda each: each.warehouse_bytes))
    rate = produced.an_hour / 3600 if produced else None
    lags = [each.lag for each in after if each.lag is not None]
    return Flow(
        rate,
        max(lags) / rate if lags and rate else None,
        len(samples[-1].mails),
        landed.an_hour if landed else None,
        data.an_hour if data else None,
        state.rise if state else None,
        warehouse.an_hour / landed.an_hour if warehouse and landed and landed.an_hour else None,
    )
