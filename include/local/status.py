"""The running demo's progress, read from Kafka, S3, Airflow and the mailbox.

The warehouse is not read, since DuckDB allows no reader while a model is written. Rows, tests, alerts and conditions
come from the state that the DAGs leave in S3, by the same rules as on the page Pipeline Health.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import Consumer, KafkaException, TopicPartition

from include.assets import coins
from include.catalogue import CONDITIONS, LAYERS
from include.instants import to_text
from include.landing.codec import CODECS
from include.landing.layout import parse_key
from include.local import mailbox
from include.local.airflow_api import AirflowApi, AirflowApiError
from include.monitoring.page import sentence
from include.monitoring.page.health import PipelineHealth, collect
from include.settings import Settings
from include.state import kpis
from include.state.json_object import StateUnreadableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TRANSFORM, MONITOR = "crypto_transform", "pipeline_monitor"


UNKNOWN = "unknown"
NO_RUN = "no run yet"
"""Status of a DAG that has no run; `UNKNOWN` when Airflow does not say."""
TEST_RESULTS = ("passed", "warned", "failed")


@dataclass(frozen=True, slots=True)
class Alert:
    """An open alert; `since` is ISO 8601, UTC."""

    condition: str
    severity: str
    title: str
    since: str


@dataclass(frozen=True, slots=True)
class Status:
    """The pipeline at one time. Counts are totals since the topic was created; None means that nothing is known.

    `sentence` is that on top of the page Pipeline Health.
    `changes` has each coin's changes in gold by span (1 h, 24 h, 7 d), in percent; it is empty if they are not known.
    `transform` and `monitor` are the state of the last run. `conditions` has open, ok or unknown for each condition.
    """

    airflow: str
    sentence: str = "The state of the pipeline is not known yet."
    produced: int | None = None
    landed: int | None = None
    prices: dict[str, float] = field(default_factory=dict)
    changes: dict[str, dict[str, float | None]] = field(default_factory=dict)
    lag: int | None = None
    rows: dict[str, int] = field(default_factory=dict)
    newest_quote: dict[str, str] = field(default_factory=dict)
    tests: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(TEST_RESULTS))
    transform: str = UNKNOWN
    monitor: str = UNKNOWN
    alerts: list[Alert] | None = None
    conditions: dict[str, str] = field(default_factory=lambda: dict.fromkeys(CONDITIONS, UNKNOWN))
    mails: int = 0
    programs: dict[str, str] = field(default_factory=dict)

    @property
    def health(self) -> str:
        """`fault` if an alert or condition is open or a program does not run; `unknown` if any of these is unknown."""
        if self.alerts or self.not_running or "open" in self.conditions.values():
            return "fault"
        known = self.alerts is not None and self.programs and UNKNOWN not in self.conditions.values()
        return "ok" if known else UNKNOWN

    @property
    def not_running(self) -> dict[str, str]:
        """Programs that do not run, with their state."""
        return {name: state for name, state in sorted(self.programs.items()) if state != "RUNNING"}

    def empty_stages(self) -> list[str]:
        """Names of the stages without data."""
        stages: dict[str, int | None] = {"produced": self.produced, "landed": self.landed}
        stages |= {layer: self.rows.get(layer) for layer in LAYERS}
        stages["tests passed"] = self.tests.get("passed")
        return [name for name, amount in stages.items() if not amount]

    def as_json(self) -> str:
        """The status as one JSON object, with the names of the empty stages."""
        return json.dumps(asdict(self) | {"health": self.health, "empty_stages": self.empty_stages()}, indent=2)


class Observer:
    """Reads a `Status` whenever it is needed, always with the same connections."""

    def __init__(self, settings: Settings, airflow: AirflowApi, mail: Path) -> None:
        kafka = settings.kafka
        self._settings = settings
        self._topic = kafka.topic
        self._storage = settings.storage
        self._airflow = airflow
        self._mail = mail
        # This client never subscribes, so it does not join the group; it only reads the group's commits.
        self._consumer = Consumer(kafka.client_config() | {"group.id": kafka.group, "log_level": 0})
        self._s3: S3Client = boto3.client(
            "s3", config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
        )
        self._known: dict[int, tuple[str, int]] = {}  # partition -> (newest key, offset after it)
        self._prices: dict[str, float] = {}
        self._seen_until = ""

    def read_status(self, programs: dict[str, str]) -> Status:
        """The state of every stage now. `programs`: state of each program, for the status."""
        produced, lag = self._kafka()
        landed, health = self._landed_or_unknown(), self._health()
        states = [layer.state for layer in health.layers if layer.state is not None]
        tests: dict[str, int | None] = {
            name: sum(getattr(state.tests, name) for state in states) for name in TEST_RESULTS
        }
        unknown = not states or any(layer.fault for layer in health.layers)
        return Status(
            airflow=self._airflow.base_url,
            sentence=sentence.of(health).text,
            produced=produced,
            landed=landed,
            prices={coin.symbol: self._prices[coin.symbol] for coin in coins() if coin.symbol in self._prices},
            changes=self._changes(),
            lag=lag,
            rows={state.layer: state.rows for state in states},
            newest_quote={state.layer: state.newest_quote_at.isoformat() for state in states if state.newest_quote_at},
            tests=dict.fromkeys(TEST_RESULTS) if unknown else tests,
            transform=self._last_run(TRANSFORM),
            monitor=self._last_run(MONITOR),
            alerts=_alerts(health),
            conditions={row.condition.name: row.state for row in health.conditions},
            mails=mailbox.count(self._mail),
            programs=programs,
        )

    def _health(self) -> PipelineHealth:
        """What Pipeline Health shows, with the catalogue's thresholds instead of those of Airflow's Variable."""
        return collect(lambda: self._s3, self._settings, lambda: None, datetime.now(UTC))

    def _changes(self) -> dict[str, dict[str, float | None]]:
        """Each coin's changes from the last build of gold; empty if none is known."""
        try:
            found = kpis.read(self._s3, self._storage)
        except (BotoCoreError, ClientError, StateUnreadableError):
            return {}
        return {
            coin.symbol: {"1 h": coin.change_percent_1h, "24 h": coin.change_percent_24h, "7 d": coin.change_percent_7d}
            for coin in (found.coins if found else ())
        }

    def _kafka(self) -> tuple[int | None, int | None]:
        """Number of messages sent to the topic, and of uncommitted messages; None if Kafka does not answer."""
        try:
            topic = self._consumer.list_topics(self._topic, timeout=2).topics[self._topic]
            partitions = [TopicPartition(self._topic, number) for number in topic.partitions]
            committed = {part.partition: part.offset for part in self._consumer.committed(partitions, timeout=2)}
            produced = lag = 0
            for partition in partitions:
                low, high = self._consumer.get_watermark_offsets(partition, timeout=2)
                produced += high
                # A negative offset means that the group has committed nothing.
                lag += high - (offset if (offset := committed[partition.partition]) >= 0 else low)
        except KafkaException:
            return None, None
        return produced, lag

    def _landed_or_unknown(self) -> int | None:
        """Number of landed records; None if S3 does not answer."""
        try:
            return self._landed()
        except (BotoCoreError, ClientError):
            return None

    def _landed(self) -> int:
        """Records in S3: the sum of each partition's offset after its newest file, as files have no gaps."""
        newest: dict[int, tuple[int, str]] = {}
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._storage.bucket, Prefix=self._storage.data_prefix, StartAfter=self._seen_until
        )
        for item in (item for page in pages for item in page.get("Contents", [])):
            key = parse_key(item["Key"])
            if key is not None:
                newest[key.partition] = max(newest.get(key.partition, (-1, "")), (key.first_offset, item["Key"]))
        for partition, (_, name) in newest.items():
            if self._known.get(partition, ("", 0))[0] != name:
                self._known[partition] = (name, self._read(name))
        if self._known:
            # A partition's keys grow with time, so the next listing starts at the slowest partition's newest file.
            self._seen_until = min(name for name, _ in self._known.values())[:-1]
        return sum(end for _, end in self._known.values())

    def _read(self, name: str) -> int:
        """The offset after a landed file. Also stores the file's prices in `_prices`."""
        landed, key = self._s3.get_object(Bucket=self._storage.bucket, Key=name), parse_key(name)
        assert key is not None  # as `_landed` has seen
        for record in CODECS[key.suffix].decode(landed["Body"].read()):
            self._prices[record["symbol"]] = record["price"]
        return int(landed["Metadata"]["last-offset"]) + 1

    def _last_run(self, dag_id: str) -> str:
        try:
            runs = self._airflow.runs(dag_id)
        except AirflowApiError:
            return UNKNOWN
        return runs[0].state if runs else NO_RUN


def _alerts(health: PipelineHealth) -> list[Alert] | None:
    """The open alerts; None when they are not known: not readable, or the monitor never ran."""
    if health.alerts is None or (health.judged is None and not health.alerts):
        return None
    return [Alert(alert.condition, alert.severity, alert.title, to_text(alert.since)) for alert in health.alerts]
