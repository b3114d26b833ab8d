"""A stack with a scheduler whose every part a test can break, and the mails that come of it, read as a person would."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import boto3
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from msgspec import structs

from include.catalogue import CONDITIONS
from include.ingest.commits import read_commits
from include.ingest.quote import encode
from include.ingest.sources.simulator import Simulator
from include.local import environment
from include.local.status import MONITOR, TRANSFORM
from include.monitoring.checks import cloudwatch
from include.monitoring.checks.cloudwatch import Datum
from include.monitoring.checks.thresholds import VARIABLE
from include.settings import KafkaSettings, SimulatorSettings, StorageSettings
from tests.chaos.proxy import FaultProxy, Weather
from tests.laptop_stack import Stack, eventually

REFUSED = Weather(outage=True)
"""The service is gone: every connection is closed without an answer."""
UPLOADS_FAIL = Weather(s503=1.0, methods=frozenset({"PUT"}))
"""S3 answers each PUT with SlowDown."""

HEADINGS = {"NEW": "start", "STILL OPEN": "reminder", "OVER": "recovery"}


@dataclass(frozen=True, slots=True)
class Told:
    """One entry of a mail: what it tells of which alert, with its facts by label (`Detail` may come several times)."""

    kind: str
    severity: str
    title: str
    facts: dict[str, list[str]]
    mail: EmailMessage

    @property
    def text(self) -> str:
        """Every fact, a line each."""
        return "\n".join(f"{label}: {value}" for label, values in self.facts.items() for value in values)


def entries(path: Path) -> list[Told]:
    """What one mail tells, from its plain-text part."""
    mail = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    body = mail.get_body(("plain",))
    assert body is not None
    found: list[Told] = []
    kind = ""
    for line in body.get_content().splitlines():
        if line in HEADINGS:
            kind = HEADINGS[line]
        elif match := re.fullmatch(r"(error|warning): (.+)", line):
            found.append(Told(kind, match[1], match[2], {}, mail))
        elif match := re.fullmatch(r"  ([A-Z][A-Za-z ]+): (.*)", line):
            found[-1].facts.setdefault(match[1], []).append(match[2])
        elif line.startswith("    ") and found:
            last = list(found[-1].facts.values())[-1]
            last[-1] += f"\n{line.strip()}"
    return found


@dataclass
class WatchedStack:
    """The stack, the proxies in front of S3 and CloudWatch, and the runs of the monitor that were looked at."""

    stack: Stack
    uploads: FaultProxy
    """Between the consumer and S3."""
    s3: FaultProxy
    """Between Airflow and S3."""
    cloudwatch: FaultProxy
    """Between Airflow and CloudWatch."""
    seen: dict[str, dict[str, str | None]] = field(default_factory=dict)
    newest: str = ""
    """Id of the newest of them."""
    market: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)
    """Where the simulated market's clock stands."""
    lately: set[str] = field(default_factory=set)
    """Tasks that failed in a run that was noted by the last look: the schedule may have begun one before ours."""

    # --- the monitor and its mails

    def tick(self) -> dict[str, str | None]:
        """One run of the monitor that begins now (after one that its schedule began); the states of its tasks."""
        eventually(lambda: not self._monitor_runs(), 300)
        self.stack.wait_for_run(MONITOR, self.stack.api.trigger(MONITOR), 300)
        return self.look()

    def look(self) -> dict[str, str | None]:
        """Note every run that has ended; the states of the newest one's tasks."""
        self.lately = set()
        ended = [run for run in self.stack.api.runs(MONITOR, 50) if run.state in {"success", "failed"}]
        for run in ended:
            if run.run_id not in self.seen:
                self.seen[run.run_id] = self.stack.api.task_states(MONITOR, run.run_id)
                self.lately |= red(self.seen[run.run_id])
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
        """The log of a task; of the monitor in its newest run that was looked at."""
        logs = Path(self.stack.values["AIRFLOW_HOME"]) / "logs" / f"dag_id={dag_id}" / f"run_id={run_id or self.newest}"
        return "".join(path.read_text() for path in sorted((logs / f"task_id={task_id}").glob("*.log")))

    def told(self) -> list[Told]:
        """Everything that was mailed so far."""
        folder = self.stack.demo.local.state / "mail"
        return [entry for path in sorted(folder.glob("[0-9]*.eml")) for entry in entries(path)]

    def one(self, kind: str, condition: str, subject: str = "") -> Told:
        """The one entry of this kind about the condition; waits for its mail, and fails if there are several."""
        title = CONDITIONS[condition].title + (f": {subject}" if subject else "")
        deadline = time.monotonic() + 60
        while True:
            told = self.told()
            found = [one for one in told if (one.kind, one.title) == (kind, title)]
            if found or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        assert len(found) == 1, f"{kind} of {title!r}: {len(found)} of {[(one.kind, one.title) for one in told]}"
        return found[0]

    # --- Kafka

    def send(self, payloads: list[bytes]) -> None:
        """Put messages on the topic, spread over its partitions."""
        self._produce(payloads, datetime.now(UTC))

    def send_long_ago(self, payloads: list[bytes], at: datetime) -> None:
        """The same, as if it had been done then: the topic takes the producer's time for a moment."""
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

        Their prices go on where the last call's ended: what a market moves while the story waits, or in the days
        before it, would be a price jump.
        """
        rounds, step, simulator = -(-count // 3), timedelta(seconds=5), Simulator(SimulatorSettings())
        begin, shift = self.market, until - rounds * step - self.market
        self.market += rounds * step
        drawn = [one for n in range(rounds) for one in simulator.quotes_at(begin + n * step)]
        return [encode(structs.replace(one, last_updated=one.last_updated + shift)) for one in drawn]

    def set_topic(self, **settings: str) -> None:
        """Change settings of the topic."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
        ]
        topic = ConfigResource(ResourceType.TOPIC, self._kafka().topic, incremental_configs=entries)
        admin = AdminClient(self._kafka().client_config())  # kept, or it would be gone before it has answered
        admin.incremental_alter_configs([topic])[topic].result(15)

        def in_force() -> bool:
            found = admin.describe_configs([topic])[topic].result(15)
            return all(found[name].value == value for name, value in settings.items())

        eventually(in_force, 30)

    def set_retention(self, retention: timedelta) -> None:
        """How long the topic keeps its records."""
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
        reader = Consumer(kafka.client_config() | {"group.id": kafka.group, "log_level": 0})  # it only looks
        places = [
            TopicPartition(kafka.topic, one) for one in reader.list_topics(kafka.topic).topics[kafka.topic].partitions
        ]

        def done() -> bool:
            return all(
                one.offset == reader.get_watermark_offsets(one, timeout=10)[1]
                for one in read_commits(reader, places, 30)
            )

        eventually(done, seconds)
        reader.close()

    def _kafka(self) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=self.stack.values["KAFKA_BOOTSTRAP_SERVERS"])

    # --- the programs

    def start_consumer(self) -> None:
        """Start the consumer, whose way to S3 leads through the proxy `uploads`."""
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
        """Keys of the bucket, asked of the emulator itself."""
        s3 = boto3.client("s3", endpoint_url=self.stack.values["AWS_ENDPOINT_URL"])
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.stack.values["S3_BUCKET"], Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def landed(self) -> int:
        """How many data objects there are."""
        return sum("_o" in key for key in self.keys(StorageSettings().data_prefix))

    def alert_state(self) -> dict[str, Any]:
        """The alert state: what is `open`, by key, and the `outbox`."""
        s3 = boto3.client("s3", endpoint_url=self.stack.values["AWS_ENDPOINT_URL"])
        key = f"{StorageSettings().state_prefix}alerts.json"
        body = s3.get_object(Bucket=self.stack.values["S3_BUCKET"], Key=key)["Body"].read()
        return dict(json.loads(body))

    def wait_for_silence(self) -> None:
        """Return between two runs of the monitor, when no notice waits or is being sent."""

        def silent() -> bool:
            return not self.alert_state()["outbox"] and not self._monitor_runs()

        eventually(silent, 300, state=self.alert_state)

    # --- Airflow

    def set_thresholds(self, thresholds: dict[str, Any]) -> None:
        """The Variable `monitor_thresholds`, as a person sets it in the UI."""
        content: dict[str, object] = {"key": VARIABLE, "value": json.dumps(thresholds)}
        known = self.stack.api.call("GET", "/variables").json()["variables"]
        if any(one["key"] == VARIABLE for one in known):
            self.stack.api.call("PATCH", f"/variables/{VARIABLE}", content)
        else:
            self.stack.api.call("POST", "/variables", content)

    def set_pool(self, pool: str, slots: int) -> None:
        """How many tasks of a pool may run at a time."""
        change = {"pool": pool, "slots": slots, "include_deferred": False}  # required, although the mask leaves it out
        self.stack.api.call("PATCH", f"/pools/{pool}?update_mask=slots", change)

    def set_environment(self, **values: str) -> None:
        """Change settings of the DAG processor; returns when it has parsed the transform DAG anew."""
        self.stack.values.update(values)
        environment.write(self.stack.demo.environment_file, self.stack.values)
        self.stop("airflow-dag-processor")
        before = self._parsed_at()
        self.start("airflow-dag-processor")
        eventually(lambda: self._parsed_at() != before, 120)

    def _parsed_at(self) -> str:
        return str(self.stack.api.call("GET", f"/dags/{TRANSFORM}").json()["last_parsed_time"])


def red(states: dict[str, str | None]) -> set[str]:
    """The tasks that failed."""
    return {task_id for task_id, state in states.items() if state == "failed"}


def skipped(states: dict[str, str | None]) -> set[str]:
    """The tasks about whose condition nothing is known."""
    return {task_id for task_id, state in states.items() if state == "skipped"}


def ago(duration: timedelta) -> datetime:
    """A moment in the past."""
    return datetime.now(UTC) - duration


def wait_until(moment: datetime) -> None:
    """Sleep until then; at once when it is past."""
    time.sleep(max((moment - datetime.now(UTC)).total_seconds(), 0))
