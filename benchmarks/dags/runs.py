"""Measures what Airflow adds to dbt, and how long a tick of the monitor takes, on a laptop stack.

    python -m benchmarks.dags.runs [--builds N] [--ticks N]

The benchmark lands 48 simulated hours and stops the producer. Then two builds take turns: a plain `dbt build` of the
transform DAG's models into another warehouse, and a run of `crypto_transform` through the scheduler. Before each repeat
six hours of new quotes land. Ticks of `pipeline_monitor` follow, while the consumer works. The printed table compares
the transform with dbt. The command exits with 1 if a bound of benchmarks/bounds.toml is broken.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from confluent_kafka import Producer
from rich.console import Console

from benchmarks.figures import Figures, Values
from benchmarks.results import finish
from include.ingest.quote import encode
from include.ingest.sources.simulator import Simulator
from include.local import environment
from include.local.process_control import ProcessControl
from include.local.programs import SERVERS
from include.local.stack import Demo
from include.local.start import make_observer, start
from include.local.status import MONITOR, TRANSFORM
from include.settings import DBT_PROJECT, KafkaSettings, SimulatorSettings, load_group
from tests.laptop_stack import Stack, eventually, local_settings
from tests.servers import free_port

BUILDS = 4
TICKS = 5
SELECTED = ("path:seeds", "path:snapshots", "path:models/bronze", "path:models/silver", "path:models/gold")


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """The demo with 48 hours landed and without a schedule for the transform."""
    local = local_settings(folder)
    demo = Demo(local, ProcessControl(local.state), Console(stderr=True))
    ports = {name: str(free_port()) for name in ("CONSUMER_HTTP_PORT", "PRODUCER_HTTP_PORT")}
    os.environ |= ports | {"PRODUCER_SOURCE": "simulator", "SIMULATOR_HISTORY_HOURS": "48"}
    try:
        api = start(demo)
        values = environment.read(demo.environment_file)
        with environment.applied(values):
            demo.control.stop("producer")
            observer = make_observer(values, demo, api)
            eventually(lambda: (status := observer.read_status({})).lag == 0 and status.landed == status.produced, 120)
            yield Stack(demo, api, values)
    finally:
        if demo.control.running():
            demo.control.shutdown(last=SERVERS)


def dbt(stack: Stack, folder: Path, *arguments: str) -> None:
    """Run a dbt command with the stack's settings; warehouse and artifacts are in `folder`."""
    command = [str(Path(sys.executable).with_name("dbt")), "--quiet", *arguments, "--project-dir", str(DBT_PROJECT)]
    command += ["--profiles-dir", str(DBT_PROJECT), "--log-path", str(folder), "--target-path", str(folder / "target")]
    variables = stack.values | {"WAREHOUSE_DUCKDB_PATH": str(folder / "plain.duckdb")}
    subprocess.run(command, check=True, env=os.environ | variables, stdout=subprocess.DEVNULL)


def plain_build(stack: Stack, folder: Path) -> float:
    """Seconds of the command `dbt build` with its start. The project is parsed first, as for the DAG."""
    dbt(stack, folder, "parse")
    began = time.perf_counter()
    dbt(stack, folder, "build", "--select", *SELECTED, "--exclude", "resource_type:unit_test")
    return time.perf_counter() - began


def run_dag(stack: Stack, dag_id: str) -> tuple[float, int]:
    """Seconds of one run from its trigger to its end, and the number of its tasks that were not skipped."""
    eventually(lambda: all(run.state in {"success", "failed"} for run in stack.api.runs(dag_id, 5)), 180)
    run_id = stack.api.trigger(dag_id)
    began = time.perf_counter()
    state, tasks = stack.wait_for_run(dag_id, run_id, 600)
    if state != "success":
        raise RuntimeError(f"{dag_id} {run_id} is {state}: {tasks}")
    run = stack.api.run(dag_id, run_id)
    assert run.started_at
    assert run.ended_at
    duration = datetime.fromisoformat(run.ended_at) - datetime.fromisoformat(run.started_at)
    queued = max(time.perf_counter() - began - duration.total_seconds(), 0)  # up to half a second is the poll's pause
    return duration.total_seconds() + queued, sum(state == "success" for state in tasks.values())


def send_six_hours(stack: Stack, repeat: int) -> None:
    """Send new quotes, a minute apart, and wait until they have landed."""
    market, kafka = Simulator(SimulatorSettings(seed=repeat)), load_group(KafkaSettings)
    producer, now = Producer(kafka.client_config()), datetime.now(UTC)
    for minute in range(360):
        for quote in market.quotes_at(now - timedelta(minutes=360 - minute, milliseconds=repeat)):
            producer.produce(kafka.topic, encode(quote), key=quote.symbol)
    producer.flush()
    observer = make_observer(stack.values, stack.demo, stack.api)
    eventually(lambda: observer.read_status({}).lag == 0, 60)


def compare(stack: Stack, folder: Path, builds: int) -> tuple[float, float]:
    """Build in turns and print each pair; returns median ratio and seconds of `dbt build`, without the first pair."""
    print(f"{'transform':12}{'dbt build':>12}{'DAG':>10}{'tasks':>8}{'a task':>10}{'ratio':>8}   (s)")
    plains, ratios = [], []
    for build in range(builds):
        if build:
            send_six_hours(stack, build)
        plain = plain_build(stack, folder)
        run, tasks = run_dag(stack, TRANSFORM)
        plains.append(plain)
        ratios.append(run / plain)
        name, a_task = "six hours" if build else "first", (run - plain) / tasks
        print(f"{name:12}{plain:12.1f}{run:10.1f}{tasks:8}{a_task:10.2f}{run / plain:8.2f}", flush=True)
    return statistics.median(ratios[1:]), statistics.median(plains[1:])


def figures(builds: int = BUILDS, ticks: int = TICKS) -> Figures:
    """The median ratio of a transform run to a plain `dbt build` of the same six hours, and seconds of a tick."""
    with tempfile.TemporaryDirectory() as name, running_stack(Path(name)) as stack:
        # First wait for the monitor's runs: a run does not go on while its DAG is paused.
        eventually(lambda: all(run.state in {"success", "failed"} for run in stack.api.runs(MONITOR, 5)), 180)
        stack.api.call("PATCH", f"/dags/{MONITOR}", {"is_paused": True})
        ratio, dbt_build = compare(stack, Path(name), builds)
        values: Values = {"six_hours.run_over_dbt_build": ratio, "six_hours.dbt_build_seconds": dbt_build}
        if ticks:
            stack.api.unpause(MONITOR)
            stack.demo.control.start("producer")
            seconds = [run_dag(stack, MONITOR)[0] for _ in range(ticks)]
            values |= {"monitor_tick.median_seconds": statistics.median(seconds)}
            values |= {"monitor_tick.worst_seconds": max(seconds)}
            values |= {"monitor_tick.over_dbt_build": statistics.median(seconds) / dbt_build}
    return Figures(values)


def main() -> int:
    """Run the builds and the ticks, print the comparison, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builds", type=int, default=BUILDS, help="pairs of builds, at least 2")
    parser.add_argument("--ticks", type=int, default=TICKS, help="ticks of the monitor")
    wanted = parser.parse_args()
    return finish("transform", figures(wanted.builds, wanted.ticks))


if __name__ == "__main__":
    sys.exit(main())
