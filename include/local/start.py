"""Starts the laptop stack, in order."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack

from include.local import environment
from include.local.airflow_api import AirflowApi
from include.local.jobs import Job, start_job
from include.local.programs import WATCH
from include.local.servers import check_ports, start_servers
from include.local.stack import Demo, DemoError
from include.local.status import MONITOR, TRANSFORM, Observer
from include.settings import load

DAGS = (TRANSFORM, MONITOR)
"""The DAGs that the demo unpauses."""


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


def prepare(demo: Demo) -> list[Job]:
    """Start the jobs that Airflow's start needs: its metadata database and the dbt manifest."""
    return [
        start_job(
            demo, "preparing Airflow", [sys.executable, "-m", "include.local.airflow_metadata"], "airflow-db.log"
        ),
        start_job(
            demo,
            "dbt parse",
            [sys.executable, "-m", "include.transform.manifest", str(demo.local.state / "dbt_target")],
            "dbt-parse.log",
        ),
    ]


def start_dictionary(demo: Demo) -> Job:
    """Start to write the data dictionary's first page, which Airflow shows under Browse."""
    state = demo.local.state
    command = [sys.executable, "-m", "include.transform.data_dictionary", str(state / environment.DICTIONARY)]
    return start_job(demo, "dbt docs", [*command, str(state / "dbt_target")], "dbt-docs.log")


def start_airflow(demo: Demo, preparations: list[Job]) -> AirflowApi:
    """Start Airflow's components; returns when Airflow has the DAGs, which are still paused."""
    with demo.step("dbt manifest, Airflow's metadata database, connections and pool"):
        for job in preparations:
            job.finish()
    api = AirflowApi(environment.airflow_url(demo.local))
    with demo.step("Airflow: API server, scheduler, DAG processor"):
        for name in ("airflow-api", "airflow-dag-processor", "airflow-scheduler", "airflow-triggerer"):
            demo.control.start(name, wait=False)
        api.wait_until_ready(seconds=300)
        for dag_id in DAGS:
            api.wait_for_dag(dag_id, seconds=120)
    return api


def start(demo: Demo) -> AirflowApi:
    """Start everything, in order, and show each step."""
    check_ports(demo.local)
    demo.console.print(f"Starting the pipeline; its state is kept in {demo.local.state}")
    values = start_servers(demo)
    with ExitStack() as interrupted:
        preparations = prepare(demo)
        for job in preparations:
            interrupted.callback(job.stop)
        provision(demo)
        demo.control.start("producer", wait=False)
        demo.control.start("consumer", wait=False)
        api = start_airflow(demo, preparations)
        dictionary = start_dictionary(demo)
        interrupted.callback(dictionary.stop)
        with demo.step("quotes landing in S3, data dictionary") as note:
            note(wait_until_landed(demo, make_observer(values, demo, api)))
            note(f"quotes: {quote_source(demo)}")
            dictionary.finish()
    for dag_id in DAGS:
        api.unpause(dag_id)  # the scheduler then starts the newest due run at once
    api.parse(TRANSFORM)
    demo.control.start(WATCH, wait=False)
    return api


def wait_until_landed(demo: Demo, observer: Observer) -> str:
    """Return when most of the messages are in S3, so that the first run has data to show.

    Only messages that the running consumer has committed count: the bucket may hold objects of an earlier topic.

    Raises:
        DemoError: they have not landed within two minutes; the text has the end of the consumer's log.
    """
    deadline = time.monotonic() + 120
    while True:
        status = observer.read_status(demo.control.status())
        produced = status.produced or 0
        committed = produced - status.lag if status.lag is not None else 0
        landed = min(status.landed or 0, committed)
        if status.programs.get("consumer") == "RUNNING" and landed and landed >= 0.9 * produced:
            return f"{landed:,} of {produced:,} messages"
        if time.monotonic() > deadline:
            log = demo.control.log_tail("consumer")
            raise DemoError(f"{landed:,} of {produced:,} messages in S3 after 120 s; the consumer says:\n{log}")
        time.sleep(1)


def quote_source(demo: Demo) -> str:
    """The source of the running producer's quotes, by its log: CoinGecko, or the simulator."""
    for line in reversed(demo.control.log_tail("producer", 20_000).splitlines()):
        if '"message": "started"' in line:
            return str(json.loads(line)["source"])
    return "not known yet"


def make_observer(values: dict[str, str], demo: Demo, api: AirflowApi) -> Observer:
    """An observer with the demo's environment instead of this process's."""
    with environment.applied(values):
        return Observer(load(), api, demo.local.state / "mail")
