"""A stack with a scheduler: a test can break each part of it, and reads the mails that the monitor sends."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from msgspec import structs
from rich.console import Console

from include.catalogue import CONDITIONS
from include.ingest.commits import read_commits
from include.ingest.quote import encode
from include.ingest.sources.simulator import Simulator
from include.local import broker, environment
from include.local.process_control import ProcessControl
from include.local.programs import SERVERS
from include.local.servers import check_ports, start_servers
from include.local.stack import Demo
from include.local.start import prepare, provision, start_airflow
from include.local.status import MONITOR, TRANSFORM
from include.monitoring.checks import cloudwatch
from include.monitoring.checks.cloudwatch import Datum
from include.monitoring.checks.thresholds import VARIABLE
from include.settings import KafkaSettings, LocalSettings, SimulatorSettings, StorageSettings
from tests.airflow_connections import aws_connection
from tests.chaos.proxy import FaultProxy, Weather
from tests.laptop_stack import Stack, eventually
from tests.servers import free_port

REFUSED = Weather(outage=True)
"""The service does not work: every connection is closed without an answer."""
UPLOADS_FAIL = Weather(s503=1.0, methods=frozenset({"PUT"}))
"""S3 answers each PUT with SlowDown."""

HEADINGS = {"NEW": "start", "STILL OPEN": "reminder", "OVER": "recovery"}


@dataclass(frozen=True, slots=True)
class MailEntry:
    """One entry of a mail, about one alert. `facts` has a list for each label, because `Detail` may be repeated."""

    kind: str
    severity: str
    title: str
    facts: dict[str, list[str]]
    mail: EmailMessage

    @property
    def text(self) -> str:
        """Every fact on its own line."""
        return "\n".join(f"{label}: {value}" for label, values in self.facts.items() for value in values)


def entries(path: Path) -> list[MailEntry]:
    """The entries of one mail, read from its plain-text part."""
    mail = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    body = mail.get_body(("plain",))
    assert body is not None
    parsed: list[MailEntry] = []
    kind = ""
    for line in body.get_content().splitlines():
        if line in HEADINGS:
            kind = HEADINGS[line]
        elif match := re.fullmatch(r"(error|warning): (.+)", line):
            parsed.append(MailEntry(kind, match[1], re.sub(r" and \d+ more$", "", match[2]), {}, mail))
        elif match := re.fullmatch(r"  ([A-Z][A-Za-z ]+): (.*)", line):
            parsed[-1].facts.setdefault(match[1], []).append(match[2])
        elif line.startswith("    ") and parsed:
            last = list(parsed[-1].facts.values())[-1]
            last[-1] += f"\n{line.strip()}"
    return parsed


@dataclass
class WatchedStack:
    """The stack, the proxies in front of S3 and CloudWatch, and the monitor's runs that were read so far."""

    stack: Stack
    uploads: FaultProxy
    """Between the consumer and S3."""
    s3: FaultProxy
    """Between Airflow and S3."""
    cloudwatch: FaultProxy
    """Between Airflow and CloudWatch."""
    seen: dict[str, dict[str, str | None]] = field(default_factory=dict)
    newest: str = ""
    """Id of the newest run in `seen`."""
    market: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)
    """Time of the simulated market's clock."""
    failed_lately: set[str] = field(default_factory=set)
    """Tasks that failed in a run that the last `read_runs` read; the schedule may have begun a run before the test."""

    # --- the monitor and its mails

    def run_monitor(self) -> dict[str, str | None]:
        """Run the monitor now, after any run of its schedule; returns the states of its tasks."""
        eventually(lambda: not self._monitor_runs(), 300)
        self.stack.wait_for_run(MONITOR, self.stack.api.trigger(MONITOR), 300)
        return self.read_runs()

    def read_runs(self) -> dict[str, str | None]:
        """Read every run that has ended; returns the states of the newest run's tasks."""
        self.failed_lately = set()
        ended = [run for run in self.stack.api.runs(MONITOR, 50) if run.state in {"success", "failed"}]
        for run in ended:
            if run.run_id not in self.seen:
                self.seen[run.run_id] = self.stack.api.task_states(MONITOR, run.run_id)
                self.failed_lately |= red(self.seen[run.run_id])
        self.newest = ended[0].run_id
        return self.seen[self.newest]

    def _monitor_runs(self) -> list[str]:
        """Runs of the monitor that have not ended."""
        return [run.run_id for run in self.stack.api.runs(MONITOR, 5) if run.state not in {"success", "failed"}]

    def publish(self, metric: str, value: float, at: datetime) -> None:
        """Put one number into CloudWatch."""
        client = boto3.client("cloudwatch", endpoint_url=self.stack.values["AWS_ENDPOINT_URL"])
        cloudwatch.publish(client, "CryptoLakehouse", "demo", [Datum(metric, value)], at)

    def log_of(self, task_id: str, dag_id: str = MONITOR, run_id: str = "") -> str:
        """The log of a task; by default of the monitor, in the newest run that `read_runs` read."""
        logs = Path(self.stack.values["AIRFLOW_HOME"]) / "logs" / f"dag_id={dag_id}" / f"run_id={run_id or self.newest}"
        return "".join(path.read_text() for path in sorted((logs / f"task_id={task_id}").glob("*.log")))

    def mail_entries(self) -> list[MailEntry]:
        """The entries of all mails so far."""
        folder = self.stack.demo.local.state / "mail"
        return [entry for path in sorted(folder.glob("[0-9]*.eml")) for entry in entries(path)]

    def entry(self, kind: str, condition: str, subject: str = "") -> MailEntry:
        """The only entry of this kind about the condition. Waits for its mail; several entries fail the test."""
        title = CONDITIONS[condition].title + (f": {subject}" if subject else "")
        deadline = time.monotonic() + 60
        while True:
            mailed = self.mail_entries()
            matches = [entry for entry in mailed if (entry.kind, entry.title) == (kind, title)]
            if matches or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        titles = [(entry.kind, entry.title) for entry in mailed]
        assert len(matches) == 1, f"{kind} of {title!r}: {len(matches)} of {titles}"
        return matches[0]

    def explained(self, condition: str) -> dict[str, Any] | None:
        """The open alert of the condition while another one explains it; None when it is mailed by itself."""
        alert = self.alert_state()["open"].get(condition)
        return alert if alert and alert.get("cause") else None

    # --- Kafka

    def send(self, payloads: list[bytes]) -> None:
        """Send messages to all partitions of the topic."""
        self._produce(payloads, datetime.now(UTC))

    def send_long_ago(self, payloads: list[bytes], at: datetime) -> None:
        """Send messages with the time `at`: for a moment the topic keeps the producer's time."""
        self.set_topic(**{"message.timestamp.type": "CreateTime"})
        self._produce(payloads, at)
        self.set_topic(**{"message.timestamp.type": "LogAppendTime"})

    def _produce(self, payloads: list[bytes], at: datetime) -> None:
        producer = Producer(self._kafka().client_config())
        for payload in payloads:
            producer.produce(self._kafka().topic, payload, timestamp=int(at.timestamp() * 1000))
        assert producer.flush(30) == 0

    def quotes(self, until: datetime, count: int) -> list[bytes]:
        """At least `count` quotes, five seconds apart, that end at `until`.

        The prices continue those of the last call. Otherwise the market would move while the tests wait, and that
        would be a price jump.
        """
        rounds, step, simulator = -(-count // 3), timedelta(seconds=5), Simulator(SimulatorSettings())
        begin, shift = self.market, until - rounds * step - self.market
        self.market += rounds * step
        quotes = [quote for n in range(rounds) for quote in simulator.quotes_at(begin + n * step)]
        return [encode(structs.replace(quote, last_updated=quote.last_updated + shift)) for quote in quotes]

    def set_topic(self, **settings: str) -> None:
        """Change settings of the topic."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
        ]
        topic = ConfigResource(ResourceType.TOPIC, self._kafka().topic, incremental_configs=entries)
        admin = AdminClient(self._kafka().client_config())  # the name keeps the client alive until it has the response
        admin.incremental_alter_configs([topic])[topic].result(15)

        def in_force() -> bool:
            current = admin.describe_configs([topic])[topic].result(15)
            return all(current[name].value == value for name, value in settings.items())

        eventually(in_force, 120)

    def set_retention(self, retention: timedelta) -> None:
        """Set how long the topic keeps its records."""
        self.set_topic(**{"retention.ms": str(int(retention.total_seconds() * 1000))})

    def wait_for_kafka(self) -> None:
        """Return when the broker answers again."""

        def answers() -> bool:
            try:
                return bool(AdminClient(self._kafka().client_config() | {"log_level": 0}).list_topics(timeout=2))
            except KafkaException:
                return False

        eventually(answers, 120)

    def wait_until_landed(self, seconds: float = 120) -> None:
        """Return when the group has landed and committed every message."""
        kafka = self._kafka()
        reader = Consumer(kafka.client_config() | {"group.id": kafka.group, "log_level": 0})  # it joins no group
        numbers = reader.list_topics(kafka.topic).topics[kafka.topic].partitions
        partitions = [TopicPartition(kafka.topic, number) for number in numbers]

        def done() -> bool:
            return all(
                commit.offset == reader.get_watermark_offsets(commit, timeout=10)[1]
                for commit in read_commits(reader, partitions, 30)
            )

        eventually(done, seconds)
        reader.close()

    def _kafka(self) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=self.stack.values["KAFKA_BOOTSTRAP_SERVERS"])

    # --- the programs

    def start_consumer(self) -> None:
        """Start the consumer; it reaches S3 through the proxy `uploads`."""
        file = self.stack.demo.environment_file
        environment.write(file, self.stack.values | {"AWS_ENDPOINT_URL": self.uploads.endpoint})
        self.stack.demo.control.start("consumer")
        environment.write(file, self.stack.values)

    def stop(self, program: str) -> None:
        self.stack.demo.control.stop(program)

    def start(self, program: str) -> None:
        self.stack.demo.control.start(program)

    # --- S3

    def keys(self, prefix: str) -> list[str]:
        """Keys of the bucket, read from the emulator without a proxy."""
        s3 = boto3.client("s3", endpoint_url=self.stack.values["AWS_ENDPOINT_URL"])
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.stack.values["S3_BUCKET"], Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def landed(self) -> int:
        """Number of data objects."""
        return sum("_o" in key for key in self.keys(StorageSettings().data_prefix))

    def alert_state(self) -> dict[str, Any]:
        """The alert state: the `open` alerts by key, and the `outbox`. Both are empty before the first alert."""
        s3 = boto3.client("s3", endpoint_url=self.stack.values["AWS_ENDPOINT_URL"])
        key = f"{StorageSettings().state_prefix}alerts.json"
        try:
            body = s3.get_object(Bucket=self.stack.values["S3_BUCKET"], Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            return {"open": {}, "outbox": []}
        return dict(json.loads(body))

    def wait_for_silence(self) -> None:
        """Return when no notice waits, no notice is being sent, and the monitor does not run."""

        def silent() -> bool:
            return not self.alert_state()["outbox"] and not self._monitor_runs()

        eventually(silent, 300, state=self.alert_state)

    # --- Airflow

    def set_thresholds(self, thresholds: dict[str, Any]) -> None:
        """Set the Variable `monitor_thresholds`, as a person does in the UI."""
        content: dict[str, object] = {"key": VARIABLE, "value": json.dumps(thresholds)}
        known = self.stack.api.call("GET", "/variables").json()["variables"]
        if any(variable["key"] == VARIABLE for variable in known):
            self.stack.api.call("PATCH", f"/variables/{VARIABLE}", content)
        else:
            self.stack.api.call("POST", "/variables", content)

    def pause(self, dag_id: str) -> None:
        """Pause a DAG, as a person does in the UI."""
        self.stack.api.call("PATCH", f"/dags/{dag_id}", {"is_paused": True})

    def kill(self, dag_id: str, run_id: str) -> None:
        """Kill the process of the run's only task as the kernel does; returns when it is dead."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        (task,) = self.stack.api.call("GET", path).json()["task_instances"]
        killed: list[psutil.Process] = []

        def found() -> bool:
            for process in psutil.process_iter(["cmdline"]):
                if f"airflow worker -- {task['id']}" in " ".join(process.info["cmdline"] or ()):
                    process.kill()
                    killed.append(process)
            return bool(killed)

        eventually(found, 300, pause=0.02)
        psutil.wait_procs(killed, timeout=30)

    def let_time_pass(self, dag_id: str, run_id: str, duration: timedelta) -> None:
        """Make Airflow believe that the run began this much earlier."""
        path = Path(self.stack.values["AIRFLOW_HOME"]) / "airflow.db"
        change = "update dag_run set start_date = ? where dag_id = ? and run_id = ?"
        begin = f"{datetime.now(UTC) - duration:%Y-%m-%d %H:%M:%S.%f}"
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as database, database:
            assert database.execute(change, (begin, dag_id, run_id)).rowcount == 1

    def set_pool(self, pool: str, slots: int) -> None:
        """Set how many tasks of a pool may run at a time."""
        change = {"pool": pool, "slots": slots, "include_deferred": False}  # required, although the mask excludes it
        self.stack.api.call("PATCH", f"/pools/{pool}?update_mask=slots", change)

    def set_environment(self, **values: str) -> None:
        """Change settings of the DAG processor; returns when it has parsed the transform DAG again."""
        self.stack.values.update(values)
        environment.write(self.stack.demo.environment_file, self.stack.values)
        self.stop("airflow-dag-processor")
        before = self._parsed_at()
        self.start("airflow-dag-processor")
        eventually(lambda: self._parsed_at() != before, 120)

    def _parsed_at(self) -> str:
        return str(self.stack.api.call("GET", f"/dags/{TRANSFORM}").json()["last_parsed_time"])


@contextlib.contextmanager
def started(
    local: LocalSettings, programs: dict[str, str], airflow: dict[str, str], first_on_path: Path | None = None
) -> Iterator[WatchedStack]:
    """The stack before the first message and before the monitor's first run.

    `programs` are settings of every program, `airflow` further ones of those that start after the servers. Modules in
    the folder `first_on_path` are found before all others by the latter.
    """
    demo = Demo(local, ProcessControl(local.state), Console(stderr=True))
    ports = {"CONSUMER_HTTP_PORT": str(free_port()), "PRODUCER_HTTP_PORT": "0", "LOCAL_SMTP_PORT": str(local.smtp_port)}
    proxies: list[FaultProxy] = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ports | programs).items():
            patch.setenv(name, value)
        kind, reason = broker.available_kind()
        assert kind == "kafka", f"needs Apache Kafka, whose topic can be changed: {reason}"
        check_ports(local)
        try:
            values = start_servers(demo)
            endpoint = values["AWS_ENDPOINT_URL"]
            preparations = prepare(demo)
            provision(demo)
            proxies += [FaultProxy(("127.0.0.1", local.aws_port), seed=1) for _ in range(3)]
            uploads, s3, metrics = proxies
            services = {"s3": {"endpoint_url": s3.endpoint}, "cloudwatch": {"endpoint_url": metrics.endpoint}}
            values |= {
                "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(endpoint, **services),
                "ALERT_EMAILS": '["oncall@example.com"]',
                **airflow,
            }
            if first_on_path:
                values["PYTHONPATH"] = f"{first_on_path}:{values['PYTHONPATH']}"
            environment.write(demo.environment_file, values)
            with environment.applied(values):
                api = start_airflow(demo, preparations)
                yield WatchedStack(Stack(demo, api, values), uploads, s3, metrics)
        finally:
            if demo.control.running():
                demo.control.shutdown(last=SERVERS)
            for proxy in proxies:
                proxy.close()


def red(states: dict[str, str | None]) -> set[str]:
    """The tasks that failed."""
    return {task_id for task_id, state in states.items() if state == "failed"}


def skipped(states: dict[str, str | None]) -> set[str]:
    """The tasks that could not judge their condition."""
    return {task_id for task_id, state in states.items() if state == "skipped"}


def ago(duration: timedelta) -> datetime:
    """The moment `duration` before now."""
    return datetime.now(UTC) - duration


def wait_until(moment: datetime) -> None:
    """Sleep until the moment, or not at all when it is past."""
    time.sleep(max((moment - datetime.now(UTC)).total_seconds(), 0))
