"""Command line: `python -m include.audit {run,where}`; `verify.py` beside it is a program of its own.

Settings come from the environment (docs/settings.md). Exit status: 0 all is well, 1 something was found, 2 refused
(settings, contract, or a source does not answer).
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime

from confluent_kafka import Consumer, KafkaException
from obstore.exceptions import BaseError
from rich.console import Console

from include.audit.bucket import AuditBucket
from include.audit.kafka import KafkaUnreadableError, read_offsets
from include.audit.layers import LayerCounts
from include.audit.manifest import ManifestError
from include.audit.record_log import KafkaLog
from include.audit.report import audited, lines
from include.audit.run import AuditError, Auditor, Result
from include.audit.where import Where
from include.ingest import topic
from include.ingest.store import open_store, read_contract
from include.instants import from_text
from include.landing.contract import ContractError
from include.monitoring.checks.kafka_offsets import probe_config
from include.reasons import reason_of
from include.settings import Settings, SettingsError, load
from include.transform import inline_query

REFUSALS = (
    SettingsError, ContractError, AuditError, ManifestError, KafkaUnreadableError, KafkaException, topic.TopicError,
    inline_query.InlineQueryError, BaseError, OSError,
)  # fmt: skip
EXIT_FOUND, EXIT_REFUSED = 1, 2
RETRIES = 4
"""New attempts of a request to S3, within about 2 s: one refusal among thousands must not end an audit."""


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Audit every day that has ended and has no manifest yet, and compare the last days with theirs."""
    store, console = open_store(settings.storage, settings.aws, retries=RETRIES), Console()
    stored = read_contract(store, settings.storage.data_prefix)
    contract = stored.contract if stored else None
    if contract:
        contract.check_prefixes(settings.storage)
    kafka = None
    if not options.without_kafka:
        admin = topic.Admin(settings.kafka.client_config())
        kafka = read_offsets(admin, settings.kafka, contract.topic_id if contract else None)
    layers = None if options.without_layers else LayerCounts(inline_query.rows, settings.storage)
    bucket, now = AuditBucket(store, settings.storage), datetime.now(UTC)
    auditor = Auditor(bucket, contract, kafka, layers, now)
    if options.day:
        result = Result((auditor.day(options.day, deep=options.deep, again=options.again),))
    else:
        result = auditor.run()
        bucket.record(audited(result, now))
    for line in lines(result):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return EXIT_FOUND if result.all_findings() else 0


def where(settings: Settings, options: argparse.Namespace) -> int:
    """Say where a record is: PARTITION/OFFSET, or a coin and the time of its quote (SYMBOL TIME)."""
    console, store = Console(), open_store(settings.storage, settings.aws, retries=RETRIES)
    query = None if options.without_layers else inline_query.rows
    with ExitStack() as stack:
        log = None if options.without_kafka else _log(settings, stack)
        finder = Where(store, settings.storage, log, query, settings.consumer.max_message_bytes)
        places = _places(finder, options)
        for partition, offset in places:
            text = finder.find(partition, offset).text(settings.storage.bucket)
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    if not places:
        text = "A record that is rejected or not built yet is found by PARTITION/OFFSET only."
        console.print(f"silver and quarantine have no quote of {options.place} at {options.time}. {text}", markup=False)
        return EXIT_FOUND
    return 0


def _log(settings: Settings, stack: ExitStack) -> KafkaLog:
    """The topic's records; `stack` closes the client."""
    kafka = settings.kafka
    consumer = stack.enter_context(
        closing(topic.connected(Consumer, kafka.client_config() | probe_config(kafka.group)))
    )
    return KafkaLog(consumer, kafka.topic, settings.consumer.batch_records)


def _places(finder: Where, options: argparse.Namespace) -> list[tuple[int, int]]:
    """The places that the arguments name.

    Raises:
        AuditError: they are neither PARTITION/OFFSET nor SYMBOL TIME, or the warehouse is needed and left out.
    """
    partition, _, offset = options.place.partition("/")
    if partition.isdigit() and offset.isdigit():
        return [(int(partition), int(offset))]
    if not options.time or not options.place.isalnum():
        raise AuditError(f"{options.place!r}: write PARTITION/OFFSET like 2/4217, or a coin and a time")
    if options.without_layers:
        raise AuditError(
            "only the warehouse knows coins and times: leave out --without-layers, or give PARTITION/OFFSET"
        )
    try:
        moment = from_text(options.time)
    except ValueError as error:
        raise AuditError(f"{options.time!r} is no time with a zone: write it like 2026-11-23T20:15:07Z") from error
    return finder.quotes(options.place, moment)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    program = argparse.ArgumentParser(prog="python -m include.audit", description=__doc__)
    commands = program.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help=run.__doc__, description=run.__doc__)
    command.set_defaults(run=run)
    command.add_argument("--day", type=date.fromisoformat, help="only this day (UTC), like 2026-11-23")
    command.add_argument("--deep", action="store_true", help="with --day: read every object again, count the layers")
    command.add_argument("--again", action="store_true", help="with --day: replace its manifest, chain the later ones")
    command.add_argument("--without-kafka", action="store_true", help="do not ask Kafka")
    command.add_argument("--without-layers", action="store_true", help="do not ask the warehouse")
    command = commands.add_parser("where", help=where.__doc__, description=where.__doc__)
    command.set_defaults(run=where)
    command.add_argument("place", help="PARTITION/OFFSET, like 2/4217; or a coin, like BTC")
    command.add_argument("time", nargs="?", help="with a coin: the quote's time, like 2026-11-23T20:15:07Z")
    command.add_argument("--without-kafka", action="store_true", help="do not ask Kafka")
    command.add_argument("--without-layers", action="store_true", help="do not ask the warehouse")
    return program


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    program = parser()
    options = program.parse_args(arguments)
    if options.run is run and not options.day and (options.deep or options.again):
        program.error("--deep and --again need --day")
    os.environ.setdefault("TOKIO_WORKER_THREADS", "1")
    try:
        return int(options.run(load(), options))
    except REFUSALS as error:
        Console(stderr=True).print(f"refused: {reason_of(error)}", highlight=False, markup=False, soft_wrap=True)
        return EXIT_REFUSED


if __name__ == "__main__":
    sys.exit(main())
