"""Measures the way of each record from Kafka to gold, through the demo's programs and its scheduler.

    python -m benchmarks.latency [--mode cron] [--mode event] [--rate idle] [--rate slow] [--rate fast] [--minutes 10]

A combination of mode and rate is one stack with simulated quotes and CONSUMER_BATCH_AGE_SECONDS=5. The transform runs
once first: records count from then on. The printed percentiles are those of the records that reached gold while the
benchmark waited. They come from the distributions in `state/latency/`, which are of all records and not of a sample.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import boto3
from rich.console import Console

from benchmarks.figures import Figures, Values, markdown
from include.catalogue import STAGES, Stage
from include.local import environment
from include.local.process_control import ProcessControl
from include.local.programs import SERVERS
from include.local.stack import Demo
from include.local.start import start
from include.settings import StorageSettings, load_group
from include.state import latency
from include.state.latency import Percentiles
from tests.laptop_stack import eventually, local_settings
from tests.servers import free_port

MODES = {"cron": "*/2 * * * *", "event": ""}
"""The demo's schedule of each way to start the transform. Without one it starts when something has landed."""
RATES = {"idle": 60.0, "slow": 1.0, "fast": 0.003}
"""Seconds between two quotes of each of the three coins: one a minute, one a second, and 1,000 messages a second."""
WARM_UP_SECONDS = 900.0
"""Maximum of seconds until gold was recorded for the first time."""
POLL_SECONDS = 5.0
HEADER = ("mode", "rate", "stage", "records", "p50", "p95", "p99", "maximum")


@contextmanager
def running_stack(folder: Path, mode: str, rate: str) -> Iterator[None]:
    """The demo with this mode and rate; this process has its settings meanwhile."""
    local = local_settings(folder).model_copy(update={"transform_schedule": MODES[mode]})
    demo = Demo(local, ProcessControl(local.state), Console(stderr=True))
    ports = {name: str(free_port()) for name in ("CONSUMER_HTTP_PORT", "PRODUCER_HTTP_PORT")}
    own = {
        "PRODUCER_SOURCE": "simulator",
        "SIMULATOR_HISTORY_HOURS": "0",
        "SIMULATOR_INTERVAL_SECONDS": str(RATES[rate]),
        "CONSUMER_BATCH_AGE_SECONDS": "5",
    }
    with environment.applied(ports | own):
        try:
            start(demo)
            with environment.applied(environment.read(demo.environment_file)):
                yield
        finally:
            if demo.control.running():
                demo.control.shutdown(last=SERVERS)


def measured(minutes: float) -> dict[Stage, Counter[int]]:
    """The latencies of the records that reach each stage in this time: seconds -> records."""
    s3, storage = boto3.client("s3"), load_group(StorageSettings)
    eventually(lambda: latency.read(s3, storage, "gold") is not None, WARM_UP_SECONDS, POLL_SECONDS)
    seen: dict[tuple[Stage, datetime], dict[int, int]] = {}
    deadline = time.monotonic() + 60 * minutes
    while time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        for stage, known in latency.read_stages(s3, storage).items():
            seen |= {(stage, build.at): dict(build.values) for build in known.builds}
    totals: dict[Stage, Counter[int]] = {stage: Counter() for stage in STAGES}
    for (stage, _), values in seen.items():
        totals[stage].update(values)
    return totals


def row(mode: str, rate: str, stage: Stage, known: Percentiles | None) -> tuple[str, ...]:
    """A line of the table."""
    numbers = (known.records, known.p50, known.p95, known.p99, known.maximum) if known else ("-",) * 5
    return (mode, rate, stage, *map(str, numbers))


def figures(modes: Iterable[str] = tuple(MODES), rates: Iterable[str] = ("slow",), minutes: float = 10) -> Figures:
    """Seconds of each combination and stage: p50, p95, p99 and maximum."""
    values: Values = {}
    rows = []
    for mode, rate in itertools.product(modes, rates):
        with tempfile.TemporaryDirectory() as name, running_stack(Path(name), mode, rate):
            by_stage = {stage: Percentiles.of(seconds) for stage, seconds in measured(minutes).items()}
        rows += [row(mode, rate, stage, known) for stage, known in by_stage.items()]
        print(markdown(HEADER, rows[-len(by_stage) :]), flush=True)
        for stage, known in by_stage.items():
            if known:
                percentiles = {"p50": known.p50, "p95": known.p95, "p99": known.p99, "maximum": known.maximum}
                values |= {f"{mode}.{rate}.{stage}.{name}": float(value) for name, value in percentiles.items()}
    for rate in rates:
        event, cron = (values.get(f"{mode}.{rate}.gold.p95") for mode in ("event", "cron"))
        if event and cron:
            values[f"{rate}.gold.p95_event_over_cron"] = event / cron
    return Figures(values, (f"{minutes:g} minutes each, seconds.", markdown(HEADER, rows)))


def main() -> None:
    """Measure each combination in turn and print a table in seconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency")
    parser.add_argument("--mode", action="append", choices=list(MODES), help="how the transform starts (default: both)")
    parser.add_argument("--rate", action="append", choices=list(RATES), help="rate of the quotes (default: all)")
    parser.add_argument("--minutes", type=float, default=10, help="minutes of each measurement (default: 10)")
    chosen = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {chosen.minutes:g} minutes each, seconds", flush=True)
    figures(chosen.mode or list(MODES), chosen.rate or list(RATES), chosen.minutes)


if __name__ == "__main__":
    main()
