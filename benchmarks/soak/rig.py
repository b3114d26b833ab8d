"""Runs the demo's stack at a steady rate, and takes samples of it."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import boto3
import psutil
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from benchmarks.soak.judgement import BATCH_RECORDS, BATCH_SECONDS
from benchmarks.soak.samples import Process, Run, Sample, write_line
from include.instants import to_text
from include.local import environment, mailbox
from include.local.airflow_api import AirflowApi, AirflowApiError
from include.local.process_control import ProcessControl
from include.local.programs import SERVERS
from include.local.stack import Demo
from include.local.start import make_observer, start
from include.local.status import TRANSFORM, Observer
from include.settings import StorageSettings, load_group
from tests.laptop_stack import local_settings
from tests.servers import free_port

SAMPLE_SECONDS = 15.0
OWN = {
    "PRODUCER_SOURCE": "simulator",
    "SIMULATOR_HISTORY_HOURS": "1",
    "SIMULATOR_INTERVAL_SECONDS": "0.1",
    "CONSUMER_BATCH_RECORDS": str(BATCH_RECORDS),
    "CONSUMER_BATCH_AGE_SECONDS": f"{BATCH_SECONDS:g}",
    "WAREHOUSE_TRANSFORM_FLOOR_SECONDS": "60",
}
"""The settings that differ from the demo's, and those of a batch.

Ten quotes a second of each coin: at three coins a leak of ten bytes a record is 1 MB an hour. A run of the transform
each minute at most. An hour of history, not two days: a large backlog at the start leaves free memory in the allocator,
in which a small leak stays hidden.
"""


@contextmanager
def running_stack(folder: Path) -> Iterator[tuple[Demo, AirflowApi]]:
    """The demo with these settings and free ports; this process has its environment meanwhile."""
    local = local_settings(folder).model_copy(update={"transform_schedule": ""})
    demo = Demo(local, ProcessControl(local.state), Console(stderr=True))
    ports = {name: str(free_port()) for name in ("CONSUMER_HTTP_PORT", "PRODUCER_HTTP_PORT")}
    with environment.applied(ports | OWN):
        try:
            api = start(demo)
            with environment.applied(environment.read(demo.environment_file)):
                yield demo, api
        finally:
            if demo.control.running():
                demo.control.shutdown(last=SERVERS)


def record(demo: Demo, api: AirflowApi, minutes: float, path: Path) -> None:
    """Take a sample each `SAMPLE_SECONDS` and keep it in `path`."""
    observer, began = make_observer(environment.read(demo.environment_file), demo, api), time.monotonic()
    write_line(path, this_run())
    while (seconds := time.monotonic() - began) <= 60 * minutes:
        write_line(path, take(demo, api, observer, seconds))
        time.sleep(SAMPLE_SECONDS - (time.monotonic() - began) % SAMPLE_SECONDS)  # a late sample delays no other


def this_run() -> Run:
    """Date, machine and versions of a run that begins now."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("apache-airflow", "dbt-core", "confluent-kafka"))
    return Run(
        to_text(datetime.now(UTC)),
        f"{os.cpu_count()} x {_processor()}, Python {platform.python_version()}",
        versions,
        OWN,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def take(demo: Demo, api: AirflowApi, observer: Observer, seconds: float) -> Sample:
    """The stack now, `seconds` after the first sample."""
    states = demo.control.status()
    programs = {name: family(demo.control.process_id(name)) for name in states}
    status = observer.read_status(states)
    warehouse = Path(os.environ["WAREHOUSE_DUCKDB_PATH"])
    return Sample(
        round(seconds, 1),
        round(os.getloadavg()[0], 1),
        programs,
        status.produced,
        status.landed,
        status.lag,
        [mail.subject for mail in mailbox.read(demo.local.state / "mail")],
        objects_by_prefix(),
        sum(file.stat().st_size for file in warehouse.parent.glob(f"{warehouse.name}*")),
        transform_runs(api),
        None if status.alerts is None else [alert.condition for alert in status.alerts],
    )


def family(process_id: int) -> list[Process]:
    """A program's process and its descendants; empty if it does not run."""
    try:
        root = psutil.Process(process_id) if process_id else None
        processes = [root, *root.children(recursive=True)] if root else []
    except psutil.NoSuchProcess:
        return []
    return [found for process in processes if (found := look(process)) is not None]


def look(process: psutil.Process) -> Process | None:
    """What a process uses; None if it has ended."""
    try:
        with process.oneshot():
            memory = process.memory_full_info()
            return Process(
                process.pid,
                process.create_time(),
                memory.rss,
                memory.uss,
                getattr(memory, "pss", memory.rss),  # only Linux knows it
                process.num_fds(),
                process.num_threads(),
            )
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return None


def objects_by_prefix() -> dict[str, int] | None:
    """Number of objects in the bucket by their first folder; None if S3 does not answer."""
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=load_group(StorageSettings).bucket)
    try:
        return dict(Counter(item["Key"].split("/")[0] for page in pages for item in page.get("Contents", [])))
    except (BotoCoreError, ClientError):
        return None


def transform_runs(api: AirflowApi) -> int | None:
    """Number of runs of the transform until now; None if Airflow does not answer."""
    try:
        answer = api.call("GET", f"/dags/{TRANSFORM}/dagRuns?limit=1").json()
    except AirflowApiError:
        return None
    return int(answer["total_entries"])
