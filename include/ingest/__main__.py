"""Command line: `python -m include.ingest {produce,consume,create-topic,replay,adopt,resize-cells}`.

Settings come from the environment (docs/settings.md). Exit status: 0 clean, 2 refused
(settings, topic, contract or commit), 3 stopped with something not landed or not sent.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

from confluent_kafka import KafkaException
from obstore.exceptions import BaseError, GenericError
from obstore.store import S3Store
from prometheus_client import CollectorRegistry

from include.ingest import console, logs, topic
from include.ingest.consumer import EXIT_REFUSED, Consumer, RefusedError
from include.ingest.factory import build_consumer
from include.ingest.factory import kafka_config as consumer_config
from include.ingest.health import Health, HealthServer
from include.ingest.metrics import ConsumerMetrics, ProducerMetrics
from include.ingest.operate import OperationError
from include.ingest.partition_writer import ProtocolError
from include.ingest.sources.base import SourceError
from include.ingest.store import open_store
from include.landing.contract import ContractError
from include.landing.dead_letter import MESSAGE_CLASSES
from include.settings import ConsumerSettings, ProducerSettings, Settings, SettingsError, load, misspelt

REFUSALS = (
    SettingsError, topic.TopicError, ContractError, ProtocolError, RefusedError, OperationError, SourceError,
    KafkaException, BaseError, OSError,
)  # fmt: skip

CONTROL_SECONDS = 5.0
"""Timeout of what the consumer's loop itself reads from S3: it must go on polling Kafka."""


def _on_signals(stop: Callable[[], None]) -> None:
    def handle(_number: int, _frame: object) -> None:
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


@contextlib.contextmanager
def _healthz(
    chosen: ConsumerSettings | ProducerSettings, registry: CollectorRegistry, state: Callable[[], Health]
) -> Iterator[None]:
    """/healthz and /metrics meanwhile, if they are not switched off.

    Raises:
        SettingsError: the port is taken, the host is none of this machine's, or the user may not listen there.
    """
    if not chosen.http_port:
        yield
        return
    prefix = chosen.model_config.get("env_prefix", "")
    try:
        server = HealthServer(chosen.http_host, chosen.http_port, registry, state)
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"{prefix}HTTP_HOST={chosen.http_host!r}, {prefix}HTTP_PORT={chosen.http_port}: cannot listen there: "
            f"{error}; set another port (0 switches /healthz and /metrics off), or an address of this machine"
        ) from error
    with contextlib.closing(server):
        yield


def _read(value: object) -> str:
    """A value of librdkafka's as it is read: it knows several words for yes, no and acks of all replicas."""
    text = str(value).lower()
    return {"1": "true", "t": "true", "0": "false", "f": "false", "-1": "all"}.get(text, text)


def _name_ignored_options(options: Mapping[str, str | int | float | bool], config: Mapping[str, Any]) -> None:
    """Warn of what KAFKA_OPTIONS sets and `config`, which is used, has otherwise."""
    ignored = [name for name, value in options.items() if _read(value) != _read(config.get(name))]
    if ignored:
        logs.logger("ingest").warning(
            "options ignored", reason=f"KAFKA_OPTIONS: {', '.join(sorted(ignored))} ignored, delivery rests on ours"
        )


def consume(settings: Settings, _options: argparse.Namespace) -> int:
    """Land the topic until SIGTERM."""
    _name_ignored_options(settings.kafka.options, consumer_config(settings))
    metrics, chosen = ConsumerMetrics(), settings.consumer
    starting = Starting()
    _on_signals(starting.stop)
    stores = _stores(settings)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_healthz(chosen, metrics.registry, starting.health))
        consumer = starting.until_ready(lambda: build_consumer(settings, *stores, metrics))
        if consumer is None:
            return 0
        if chosen.cloudwatch:
            from include.ingest.cloudwatch import Publisher

            publisher = Publisher(metrics, settings.aws, settings.monitor, chosen.cloudwatch_seconds)
            publisher.start()
            stack.callback(publisher.stop)
        _look_for_cycles_rarely()
        return consumer.run()


def _look_for_cycles_rarely() -> None:
    """Reference counts free what a chunk of messages leaves; to look for cycles in it was 2.3 % of all CPU (perf)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def _stores(settings: Settings) -> tuple[S3Store, S3Store]:
    """The bucket to land in, and to read with a timeout of the loop's. Nothing is asked of S3 yet.

    Raises:
        SettingsError: obstore refuses a setting, which no waiting mends.
    """
    # obstore's runtime starts a thread a core, which wake one another for each answer; one moves gigabytes a second.
    os.environ.setdefault("TOKIO_WORKER_THREADS", "1")
    landing, control = settings.consumer.put_timeout_seconds, CONTROL_SECONDS
    try:
        return (
            open_store(settings.storage, settings.aws, landing),
            open_store(settings.storage, settings.aws, control),
        )
    except BaseError as error:
        raise SettingsError(
            f"no S3 client can be made of S3_*, AWS_* and CONSUMER_PUT_TIMEOUT_SECONDS={landing}: "
            f"{str(error).splitlines()[0]}; correct or unset the variable"
        ) from error


class Starting:
    """Makes the consumer, again and again while S3 or Kafka do not answer: an outage is no reason to give up."""

    def __init__(self) -> None:
        self._consumer: Consumer | None = None
        self._stop = threading.Event()
        self._problem = "starting"

    def stop(self) -> None:
        """End soon, whether the consumer is there yet or not."""
        self._stop.set()
        if self._consumer is not None:
            self._consumer.stop()

    def health(self) -> Health:
        """The consumer's state, or why there is none yet."""
        return Health(True, False, [self._problem]) if self._consumer is None else self._consumer.health()

    def until_ready(self, make: Callable[[], Consumer]) -> Consumer | None:
        """The consumer, None when stopped before."""
        delay = 0.5
        while not self._stop.is_set():
            try:
                self._consumer = make()
            except (GenericError, OSError, topic.UnreachableError) as error:
                self._problem = f"waiting: {str(error).splitlines()[0]}"
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
    from include.ingest.producer import Producer  # pulls an HTTP client in, which the consumer does not need
    from include.ingest.producer import kafka_config as producer_config

    _name_ignored_options(settings.kafka.options, producer_config(settings))
    metrics = ProducerMetrics()
    producer = Producer(settings, metrics)
    _on_signals(producer.stop)
    with _healthz(settings.producer, metrics.registry, producer.health):
        return producer.run()


def create_topic(settings: Settings, options: argparse.Namespace) -> int:
    """Create the topic as landing needs it, unless it is there."""
    made = topic.ensure_topic(settings.kafka, options.partitions, options.replication, options.retention_hours)
    logs.logger("topic").info(
        "topic created" if made else "topic is there", topic=settings.kafka.topic, partitions=options.partitions
    )
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m include.ingest", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[Settings, argparse.Namespace], int]) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run)
        return made

    command("consume", consume)
    command("produce", produce)
    made = command("create-topic", create_topic)
    made.add_argument("--partitions", type=int, default=topic.DEFAULT_PARTITIONS)
    made.add_argument("--replication", type=int, default=1, help="copies of each partition (default: 1)")
    made.add_argument("--retention-hours", type=float, default=None, help="default: the broker's")
    made = command("replay", console.replay)
    made.add_argument("--since", type=date.fromisoformat, help="first day, of the Kafka timestamp (UTC)")
    made.add_argument("--until", type=date.fromisoformat, help="last day")
    made.add_argument("--error-class", choices=MESSAGE_CLASSES, help="only this class")
    made.add_argument("--partition", type=int)
    made.add_argument("--offset", type=int)
    made.add_argument("--limit", type=int, default=0, help="at most so many (default: all)")
    made.add_argument("--preview", type=int, default=20, help="rows shown (default: 20)")
    made.add_argument("--yes", action="store_true", help="send them")
    made = command("adopt", console.adopt)
    made.add_argument("--partition", type=int, action="append", help="default: all")
    made.add_argument("--offset", type=int, help="default: behind what is landed, or the group's commit")
    made.add_argument("--yes", action="store_true", help="commit")
    made = command("resize-cells", console.resize_cells)
    made.add_argument("size", type=int, help="records a cell; the largest CONSUMER_BATCH_RECORDS that will do")
    made.add_argument("--yes", action="store_true", help="write the contract")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = parser().parse_args(arguments)
    logs.configure()
    for doubt in misspelt(os.environ):
        logs.logger("ingest").warning("variable ignored", reason=doubt)
    try:
        status: int = options.run(load(), options)
    except REFUSALS as error:
        logs.logger("ingest").error("refused", command=options.command, reason=str(error))
        return EXIT_REFUSED
    return status


if __name__ == "__main__":
    sys.exit(main())
