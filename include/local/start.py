"""Brings the laptop stack up, in order, saying what it does and how long it takes."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from include.local import broker, emulator, environment
from include.local.airflow_api import AirflowApi
from include.local.process_control import ProcessControl
from include.local.programs import programs
from include.local.status import MONITOR, TRANSFORM, Observer
from include.settings import DBT_PROJECT, PROJECT_ROOT, KafkaSettings, LocalSettings, StorageSettings, load_group

DAGS = (TRANSFORM, MONITOR)
"""The DAGs that the demo unpauses."""


class DemoError(RuntimeError):
    """The demo cannot go on; the text is one line with the remedy."""


@dataclass(frozen=True, slots=True)
class Demo:
    """One demo: its settings, its processes and where its environment is written."""

    local: LocalSettings
    control: ProcessControl
    console: Console

    @property
    def environment_file(self) -> Path:
        """Variables of every program; can be sourced by hand."""
        return self.local.state / "environment"

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Says what is being done, then how long it took; the function it gives adds a detail."""
        details: list[str] = []
        started = time.monotonic()
        with self.console.status(f"{what} ..."):
            yield details.append
        shown = f"  ({'; '.join(details)})" if details else ""
        line = f"  {time.monotonic() - started:5.1f} s  {what}{shown}"
        self.console.print(line, highlight=False, soft_wrap=True)


def check_ports(local: LocalSettings) -> None:
    """Every port must be free before anything starts.

    Raises:
        DemoError: one is taken; the setting that moves it is named.
    """
    for name in ("airflow_port", "kafka_port", "kafka_controller_port", "aws_port", "smtp_port"):
        port = getattr(local, name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((environment.HOST, port))
            except OSError:
                variable = f"LOCAL_{name.upper()}"
                raise DemoError(
                    f"port {port} is taken by another program: move it, for example {variable}={port + 1} make demo"
                ) from None


def start_servers(demo: Demo) -> dict[str, str]:
    """Broker, AWS emulator and mailbox; returns the environment of everything that follows."""
    given = KafkaSettings.model_fields["bootstrap_servers"].default
    kafka = load_group(KafkaSettings)
    outside = kafka.bootstrap_servers != given
    kind, reason = broker.available_kind()
    if demo.local.broker != "auto":
        kind, reason = demo.local.broker, "chosen by LOCAL_BROKER"
    built_in = kind == "built-in" and not outside
    previous = environment.read(demo.environment_file)
    if built_in and previous:
        demo.console.print("  The built-in broker keeps nothing in memory across runs: starting afresh.")
        clean_state(demo.local.state)
    environment.write(demo.environment_file, {})
    demo.control.start_supervisor(programs(demo.local), demo.environment_file)

    bootstrap = kafka.bootstrap_servers if outside else f"{environment.HOST}:{demo.local.kafka_port}"
    with demo.step("Kafka broker, AWS emulator, mailbox") as note:
        for name in ("emulator", "mailbox", *(() if outside else ("broker",))):
            demo.control.start(name, wait=False)
        if built_in:
            bootstrap = broker.built_in_address(demo.local.state / "kafka", seconds=20)
        values = environment.build(demo.local, bootstrap, built_in_broker=built_in, previous=previous)
        environment.write(demo.environment_file, values)
        emulator.wait_until_ready(values["AWS_ENDPOINT_URL"], seconds=60)
        broker.wait_until_ready(bootstrap, seconds=90)
        note(f"KAFKA_BOOTSTRAP_SERVERS={bootstrap}" if outside else f"{kind}: {reason}")
    return values


@dataclass(frozen=True, slots=True)
class Job:
    """A command that runs beside the others and must succeed."""

    what: str
    process: subprocess.Popen[bytes]
    log: Path

    def finish(self) -> None:
        """Wait for it.

        Raises:
            DemoError: it failed; the end of its log is in the text.
        """
        if self.process.wait():
            raise DemoError(f"{self.what} failed; its log ends:\n{self.log.read_text(errors='replace')[-3000:]}")


def start_job(demo: Demo, what: str, command: list[str], log_name: str) -> Job:
    """Start a command with the demo's environment; its output goes to a log file."""
    log = demo.local.state / "logs" / log_name
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(environment.__file__).with_name("with-environment.sh")), str(demo.environment_file), *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment.inherited(),
            cwd=PROJECT_ROOT,
            start_new_session=True,
        )
    return Job(what, process, log)


def provision(demo: Demo) -> None:
    """Deploy the CloudFormation template and create the topic, both as in production."""
    with demo.step("AWS resources from the CloudFormation template"):
        start_job(
            demo, "deploying the template", [sys.executable, "-m", "include.aws", "deploy", "--yes"], "deploy.log"
        ).finish()
    with demo.step("Kafka topic"):
        start_job(
            demo, "creating the topic", [sys.executable, "-m", "include.ingest", "create-topic"], "create-topic.log"
        ).finish()


def start_airflow(demo: Demo, preparations: list[Job]) -> AirflowApi:
    """Airflow's components; returns when the DAGs are there, still paused."""
    with demo.step("dbt manifest, Airflow's metadata database, connections and pool"):
        for job in preparations:
            job.finish()
    api = AirflowApi(f"http://{environment.HOST}:{demo.local.airflow_port}")
    with demo.step("Airflow: API server, scheduler, DAG processor"):
        for name in ("airflow-api", "airflow-dag-processor", "airflow-scheduler"):
            demo.control.start(name, wait=False)
        api.wait_until_ready(seconds=120)
        for dag_id in DAGS:
            api.wait_for_dag(dag_id, seconds=120)
    return api


def start(demo: Demo) -> AirflowApi:
    """Start everything, in order, saying what happens."""
    check_ports(demo.local)
    demo.console.print(f"Starting the pipeline; its state is kept in {demo.local.state}")
    values = start_servers(demo)
    preparations = [
        start_job(
            demo, "preparing Airflow", [sys.executable, "-m", "include.local.airflow_metadata"], "airflow-db.log"
        ),
        start_job(
            demo,
            "dbt parse",
            ["dbt", "parse", "--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)],
            "dbt-parse.log",
        ),
    ]
    provision(demo)
    demo.control.start("producer", wait=False)
    demo.control.start("consumer", wait=False)
    api = start_airflow(demo, preparations)
    with demo.step("quotes landing in S3") as note:
        note(wait_until_landed(demo, make_observer(values, demo, api)))
    for dag_id in DAGS:
        api.unpause(dag_id)  # the scheduler starts the run of the minute just gone at once
    return api


def wait_until_landed(demo: Demo, observer: Observer) -> str:
    """Return when most of what was produced is in S3, so that the first run has something to show.

    Raises:
        DemoError: nothing landed within two minutes; the end of the consumer's log is in the text.
    """
    deadline = time.monotonic() + 120
    while True:
        status = observer.look({})
        landed, produced = status.landed or 0, status.produced or 0
        if landed and landed >= 0.9 * produced:
            return f"{landed:,} of {produced:,} messages"
        if time.monotonic() > deadline:
            raise DemoError(
                f"{landed} messages in S3 after 120 s; the consumer says:\n{demo.control.log_tail('consumer')}"
            )
        time.sleep(1)


def make_observer(values: dict[str, str], demo: Demo, api: AirflowApi) -> Observer:
    """An observer of the demo, which reads the demo's environment rather than this process's."""
    with environment.applied(values):
        return Observer(load_group(KafkaSettings), load_group(StorageSettings), api, demo.local.state / "mail")


def clean_state(state: Path) -> None:
    """Remove the demo's folder."""
    if state.exists():
        shutil.rmtree(state)
