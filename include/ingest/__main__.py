"""Command line: `python -m include.ingest COMMAND`; `--help` lists the commands.

Settings come from the environment (docs/settings.md). Exit status: 0 clean, 2 refused (settings, topic, contract or
commit), 3 stopped with something not landed or not sent. `check-contract` ends with 1 if the change breaks.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from obstore.exceptions import BaseError, GenericError
from obstore.store import S3Store
from prometheus_client import CollectorRegistry

from include.ingest import console, logs, topic
from include.ingest.adoption import OperationError
from include.ingest.consumer import EXIT_REFUSED, Consumer, RefusedError
from include.ingest.contract_check import SchemaError
from include.ingest.factory import build_consumer
from include.ingest.factory import kafka_config as consumer_config
from include.ingest.health import HealthServer, ProcessHealth
from include.ingest.metrics import ConsumerMetrics, ProducerMetrics
from include.ingest.partition_writer import ProtocolError
from include.ingest.reading import bound_heap
from include.ingest.shutdown import Deadline, on_signals
from include.ingest.sources.base import SourceError
from include.ingest.store import open_store
from include.landing.contract import ContractError
from include.landing.dead_letter import MESSAGE_CLASSES
from include.reasons import reason_of
from include.settings import (
    SET_BY_BROKERS,
    ConsumerSettings,
    ProducerSettings,
    Settings,
    SettingsError,
    load,
    misspelt,
)

REFUSALS = (
    SettingsError, topic.TopicError, ContractError, ProtocolError, RefusedError, OperationError, SourceError,
    SchemaError, KafkaException, BaseError, OSError,
)  # fmt: skip

CONTROL_SECONDS, CONTROL_WHOLE_SECONDS = 5.0, 60.0
"""Limits of a read from S3 in the consumer's own loop, which must go on polling Kafka: for its answer and each part of
it, and for the whole. A page of a listing has some 300 KB."""


@contextlib.contextmanager
def _healthz(
    settings: ConsumerSettings | ProducerSettings, registry: CollectorRegistry, health: Callable[[], ProcessHealth]
) -> Iterator[None]:
    """Serve /healthz and /metrics inside the block, unless they are switched off.

    Raises:
        SettingsError: the port is taken, the host is not an address of this machine, or the user may not listen there.
    """
    if not settings.http_port:
        yield
        return
    prefix = settings.model_config.get("env_prefix", "")
    try:
        server = HealthServer(settings.http_host, settings.http_port, registry, health)
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"{prefix}HTTP_HOST={settings.http_host!r}, {prefix}HTTP_PORT={settings.http_port}: cannot listen there: "
            f"{error}; set another port (0 switches /healthz and /metrics off), or an address of this machine"
        ) from error
    with contextlib.closing(server):
        yield


def _normal(value: object) -> str:
    """A value as librdkafka understands it: true, false and the acks of all replicas have several spellings each."""
    text = str(value).lower()
    return {"1": "true", "t": "true", "0": "false", "f": "false", "-1": "all"}.get(text, text)


def _name_ignored_options(options: Mapping[str, str | int | float | bool], config: Mapping[str, Any]) -> None:
    """Warn of each value in KAFKA_OPTIONS that differs from the value in use, that in `config`."""
    ignored = [name for name, value in sorted(options.items()) if _normal(value) != _normal(config.get(name))]
    theirs = SET_BY_BROKERS if config.get("group.protocol") == "consumer" else ()
    reasons = {
        "delivery depends on ours": [name for name in ignored if name not in theirs],
        "with group.protocol=consumer the brokers have them": [name for name in ignored if name in theirs],
    }
    for why, names in reasons.items():
        if names:
            text = f"KAFKA_OPTIONS: {', '.join(names)} ignored, {why}"
            logs.logger("ingest").warning("options ignored", reason=text)


def consume(settings: Settings, _options: argparse.Namespace) -> int:
    """Land the topic until SIGTERM."""
    _name_ignored_options(settings.kafka.options, consumer_config(settings))
    metrics, starting = ConsumerMetrics(), Starting(settings.consumer.shutdown_grace_seconds)
    on_signals(starting.stop)
    stores = _stores(settings)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_healthz(settings.consumer, metrics.registry, starting.health))
        consumer = starting.until_ready(lambda: build_consumer(settings, *stores, metrics, starting.deadline))
        if consumer is None:
            return 0
        if settings.consumer.cloudwatch:
            from include.ingest.cloudwatch import Publisher

            publisher = Publisher(metrics, settings.aws, settings.monitor, settings.consumer.cloudwatch_seconds)
            publisher.start()
            stack.callback(lambda: publisher.stop(min(PUBLISH_SECONDS, starting.deadline.remaining / 2)))
        _look_for_cycles_rarely()
        return consumer.run()


def _look_for_cycles_rarely() -> None:
    """Reference counts free a chunk's messages; the search for reference cycles took 2.3 % of all CPU (perf)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def _stores(settings: Settings) -> tuple[S3Store, S3Store]:
    """The bucket twice: for landing, and for the loop's reads with a shorter time-out. S3 gets no request yet.

    Raises:
        SettingsError: obstore refuses a setting; waiting would not help.
    """
    # By default obstore's runtime has a thread for each core. They wake each other for each answer, and one thread
    # moves gigabytes a second.
    os.environ.setdefault("TOKIO_WORKER_THREADS", "1")
    put_timeout = settings.consumer.put_timeout_seconds
    try:
        return (
            open_store(settings.storage, settings.aws, put_timeout),
            open_store(settings.storage, settings.aws, CONTROL_SECONDS, CONTROL_WHOLE_SECONDS),
        )
    except BaseError as error:
        raise SettingsError(
            f"no S3 client can be made of S3_*, AWS_* and CONSUMER_PUT_TIMEOUT_SECONDS={put_timeout}: "
            f"{reason_of(error)}; correct or unset the variable"
        ) from error


PRODUCER_MARGIN_SECONDS = 8.0
"""What a producer's shutdown may take besides its flush. Together this is less than the containers' 40 s."""


def _held(**facts: object) -> None:
    """Log that the shutdown hangs."""
    logs.logger("ingest").error("not ended in time, ends now", **facts)


LEAST_GRACE_SECONDS = 1.0
"""Time to leave the group even if the setting allows none."""
PUBLISH_SECONDS = 5.0
"""Time of the last publication to CloudWatch."""


class Starting:
    """Makes the consumer. It retries while S3 or Kafka do not answer, since an outage ends."""

    def __init__(self, grace_seconds: float) -> None:
        self.deadline = Deadline(max(grace_seconds, LEAST_GRACE_SECONDS), self._report_held)
        self._consumer: Consumer | None = None
        self._stop = threading.Event()
        self._problem = "starting"

    def _report_held(self, place: str) -> None:
        if self._consumer is None:
            _held(held_at=place, reason=self._problem)
        else:
            self._consumer.report_held(place)

    def stop(self) -> None:
        """End soon, with or without a consumer; any thread may call this."""
        self.deadline.begin()
        self._stop.set()
        if self._consumer is not None:
            self._consumer.stop()

    def health(self) -> ProcessHealth:
        """The consumer's state, or the reason why it has not started yet."""
        return ProcessHealth(True, False, [self._problem]) if self._consumer is None else self._consumer.health()

    def until_ready(self, make: Callable[[], Consumer]) -> Consumer | None:
        """The consumer; None when stopped before it was made."""
        delay = 0.5
        while not self._stop.is_set():
            try:
                self._consumer = make()
            except (GenericError, OSError, topic.UnreachableError) as error:
                self._problem = f"waiting: {reason_of(error)}"
                logs.logger("ingest").warning("not started yet", reason=self._problem, retry_in_seconds=delay)
                self._stop.wait(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                delay = min(delay * 2, 15.0)
                continue
            if self._stop.is_set():
                self._consumer.stop()
            return self._consumer
        return None


def produce(settings: Settings, _options: argparse.Namespace) -> int:
    """Send quotes until SIGTERM."""
    # It imports an HTTP client, which the consumer does not need.
    from include.ingest.producer import FLUSH_SECONDS, Producer
    from include.ingest.producer import kafka_config as producer_config

    _name_ignored_options(settings.kafka.options, producer_config(settings))
    metrics = ProducerMetrics()
    producer = Producer(settings, metrics)
    deadline = Deadline(FLUSH_SECONDS + PRODUCER_MARGIN_SECONDS, lambda place: _held(held_at=place))

    def stop() -> None:
        deadline.begin()
        producer.stop()

    on_signals(stop)
    with _healthz(settings.producer, metrics.registry, producer.health):
        return producer.run()


def create_topic(settings: Settings, options: argparse.Namespace) -> int:
    """Create the topic as landing needs it. A topic that is there must be as asked for, and fit for landing."""
    there = topic.ensure_topic(
        settings.kafka, options.partitions, options.replication, options.retention_hours,
        allow_create_time=settings.consumer.allow_create_time,
    )  # fmt: skip
    partitions = there.partitions if there else options.partitions or topic.DEFAULT_PARTITIONS
    text = "topic is there" if there else "topic created"
    logs.logger("topic").info(text, topic=settings.kafka.topic, partitions=partitions)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    program = argparse.ArgumentParser(prog="python -m include.ingest", description=__doc__)
    commands = program.add_subparsers(dest="command", required=True)

    def add(name: str, run: Callable[[Settings, argparse.Namespace], int]) -> Callable[..., argparse.Action]:
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        return command.add_argument

    add("consume", consume)
    add("produce", produce)
    argument = add("health", console.health)
    argument("program", choices=("consumer", "producer"), nargs="?", default="consumer", help="default: consumer")
    argument = add("create-topic", create_topic)
    argument("--partitions", type=int, help=f"of a new topic (default: {topic.DEFAULT_PARTITIONS})")
    argument("--replication", type=int, help=f"copies of each partition (default: {topic.DEFAULT_REPLICATION})")
    argument("--retention-hours", type=float, help="default: the broker's")
    argument = add("replay", console.replay)
    argument("--since", type=date.fromisoformat, help="first day, of the Kafka timestamp (UTC)")
    argument("--until", type=date.fromisoformat, help="last day")
    argument("--error-class", choices=MESSAGE_CLASSES, help="only this class")
    argument("--partition", type=int)
    argument("--offset", type=int)
    argument("--limit", type=int, default=0, help="the largest number to replay (default: all)")
    argument("--preview", type=int, default=20, help="rows shown (default: 20)")
    argument("--yes", action="store_true", help="send them")
    argument = add("adopt", console.adopt)
    argument("--partition", type=int, action="append", help="default: all")
    argument("--offset", type=int, help="default: after the landed records, or the group's commit")
    argument("--yes", action="store_true", help="commit")
    argument = add("resize-cells", console.resize_cells)
    argument("size", type=int, help="records in a cell: the largest CONSUMER_BATCH_RECORDS that is then possible")
    argument("--yes", action="store_true", help="write the contract")
    argument = add("check-contract", console.check_contract)
    argument("old", type=Path, metavar="OLD", help="JSON Schema of the contract: docs/contract/quote-v1.schema.json")
    argument("new", type=Path, metavar="NEW", help="JSON Schema of what the producer will send")
    return program


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = parser().parse_args(arguments)
    bound_heap()
    logs.configure()
    for warning in misspelt(os.environ):
        logs.logger("ingest").warning("variable ignored", reason=warning)
    try:
        return int(options.run(load(), options))
    except REFUSALS as error:
        logs.logger("ingest").error("refused", command=options.command, reason=reason_of(error))
        return EXIT_REFUSED


if __name__ == "__main__":
    sys.exit(main())
