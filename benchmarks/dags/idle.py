"""Measures what an idle pipeline costs: Airflow's CPU time while nothing lands, and the runs of the transform.

    python -m benchmarks.dags.idle [--minutes 10] [--poll 60]

The stack is the demo's, with the start by event. A run takes the simulated history; then the producer is stopped and
the monitor is paused. The printed table has the share of one core for each of Airflow's processes. The command exits
with 1 if a bound of benchmarks/bounds.toml is broken.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks.figures import Figures, Values
from benchmarks.results import finish
from include.local import environment
from include.local.airflow_api import AirflowApi
from include.local.process_control import ProcessControl
from include.local.programs import SERVERS
from include.local.stack import Demo
from include.local.start import make_observer, start
from include.local.status import MONITOR, TRANSFORM
from include.settings import WarehouseSettings
from tests.laptop_stack import eventually, local_settings
from tests.servers import free_port

PROGRAMS = ("airflow-triggerer", "airflow-scheduler", "airflow-dag-processor", "airflow-api")
MINUTES = 10.0
POLL = float(WarehouseSettings.model_fields["transform_poll_seconds"].default)
SETTLED_SECONDS = 60.0
"""So long must no run have started before the measurement begins."""


def cpu_seconds(root: psutil.Process) -> float:
    """CPU time of a process, its living children, and those that have ended."""
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return float(sum(each.user + each.system + each.children_user + each.children_system for each in times))


def wait_until_settled(api: AirflowApi) -> int:
    """Wait until no run has been active for a while; returns the number of runs."""
    quiet_since, known = time.monotonic(), -1

    def settled() -> bool:
        nonlocal quiet_since, known
        runs = api.runs(TRANSFORM, 100)
        if len(runs) != known or any(run.state not in {"success", "failed"} for run in runs):
            quiet_since, known = time.monotonic(), len(runs)
        return known > 0 and time.monotonic() - quiet_since > SETTLED_SECONDS

    eventually(settled, 900, 5)
    return known


def measure(demo: Demo, api: AirflowApi, minutes: float) -> Values:
    """The share of a core of each program, and the runs of the transform; prints them too."""
    before = wait_until_settled(api)
    roots = {name: psutil.Process(demo.control.process_id(name)) for name in PROGRAMS}
    began, used = time.monotonic(), {name: cpu_seconds(root) for name, root in roots.items()}
    time.sleep(60 * minutes)
    elapsed = time.monotonic() - began
    shares = {name: (cpu_seconds(root) - used[name]) / elapsed for name, root in roots.items()}
    runs = len(api.runs(TRANSFORM, 100)) - before
    for name, share in shares.items():
        print(f"{name:24}{share:8.2%} of a core")
    print(f"{runs} runs of {TRANSFORM} in {elapsed / 60:.1f} minutes", flush=True)
    values = {"transform_runs": float(runs)} | {f"{name}.share_of_a_core": share for name, share in shares.items()}
    return values | {"airflow-triggerer.over_scheduler": shares["airflow-triggerer"] / shares["airflow-scheduler"]}


def figures(minutes: float = MINUTES, poll: float = POLL) -> Figures:
    """Start the stack, wait until it is idle, and measure."""
    ports = {name: str(free_port()) for name in ("CONSUMER_HTTP_PORT", "PRODUCER_HTTP_PORT")}
    own = {"PRODUCER_SOURCE": "simulator", "WAREHOUSE_TRANSFORM_POLL_SECONDS": str(poll)}
    with tempfile.TemporaryDirectory() as name:
        local = local_settings(Path(name)).model_copy(update={"transform_schedule": ""})
        demo = Demo(local, ProcessControl(local.state), Console(stderr=True))
        with environment.applied(dict(os.environ) | ports | own):
            try:
                api = start(demo)
                values = environment.read(demo.environment_file)
                with environment.applied(values):
                    observer = make_observer(values, demo, api)
                    eventually(lambda: bool(observer.read_status({}).landed), 300)
                    demo.control.stop("producer")
                    api.call("PATCH", f"/dags/{MONITOR}", {"is_paused": True})
                    print(f"load {os.getloadavg()[0]:.1f}, a look each {poll:g} s")
                    return Figures(measure(demo, api, minutes))
            finally:
                if demo.control.running():
                    demo.control.shutdown(last=SERVERS)


def main() -> int:
    """Measure, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--poll", type=float, default=POLL, help="seconds between two looks (default: %(default)g)")
    wanted = parser.parse_args()
    return finish("idle", figures(wanted.minutes, wanted.poll))


if __name__ == "__main__":
    sys.exit(main())
