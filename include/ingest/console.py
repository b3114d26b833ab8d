"""An operator's commands. `health` only asks; replay, adopt and resize-cells show a plan and need --yes to do it.

`check-contract` compares two files and changes nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException

from rich.console import Console
from rich.progress import track
from rich.table import Table

from include.ingest import contract_check, logs
from include.ingest.adoption import Plan
from include.ingest.consumer import EXIT_CLEAN
from include.ingest.operate import Operator, require_size
from include.ingest.replay.choice import Filter, read_dead_letters, summary
from include.ingest.replay.kafka_log import KafkaTopic
from include.ingest.replay.replay import Replay, Report
from include.ingest.shutdown import EXIT_UNLANDED
from include.ingest.store import check_prefixes, open_store
from include.landing.dead_letter import DeadLetter
from include.reasons import reason_of
from include.settings import Settings, SettingsError

ANSWER_SECONDS = 10.0
NOT_READY = 1
"""Exit status of `health` when the program makes no progress."""


def health(settings: Settings, options: argparse.Namespace) -> int:
    """Show the state that the running consumer or producer of this machine reports. Exit status 1: it is not ready.

    Raises:
        SettingsError: the program does not answer.
    """
    program = settings.producer if options.program == "producer" else settings.consumer
    prefix = program.model_config.get("env_prefix", "")
    connection = HTTPConnection(program.http_host, program.http_port, timeout=ANSWER_SECONDS)
    try:
        with closing(connection):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            Console(soft_wrap=True).print_json(json.dumps(json.load(answer)))
            return EXIT_CLEAN if answer.status == 200 else NOT_READY
    except (OSError, HTTPException, ValueError) as error:
        raise SettingsError(
            f"the {options.program} does not answer at {program.http_host}:{program.http_port}: {reason_of(error)} "
            f"Start it, or set {prefix}HTTP_HOST and {prefix}HTTP_PORT as it has them"
        ) from error


EXIT_BREAKS = 1
"""Exit status of `check-contract`, like that of diff."""


def check_contract(_settings: Settings, options: argparse.Namespace) -> int:
    """Compare two JSON Schemas of the message; exit status 1 if a message that NEW allows breaks OLD.

    OLD is the contract (docs/contract/), NEW what the producer will send. The rules are in docs/message-contract.md.
    """
    old, new = (contract_check.read(path.read_bytes(), str(path)) for path in (options.old, options.new))
    found = contract_check.differences(old, new)
    for difference in found:
        verdict = "breaks" if difference.breaks else "harmless"
        sys.stdout.write(f"{verdict}: {difference.field or 'message'}: {difference.rule}: {difference.text}\n")
    breaks = sum(difference.breaks for difference in found)
    sys.stdout.write(f"{breaks} of {len(found)} differences break the contract\n")
    return EXIT_BREAKS if breaks else EXIT_CLEAN


def replay(settings: Settings, options: argparse.Namespace) -> int:
    """List chosen dead letters; with --yes send their messages to the topic again, each once.

    The dead letters are read once to be counted and, with --yes, once more to be sent, because all of them together
    may need more memory than there is.
    """
    console = Console(stderr=True)
    store = open_store(settings.storage, settings.aws)
    check_prefixes(store, settings.storage)
    choice = Filter(options.since, options.until, options.error_class, options.partition, options.offset)
    replayer = Replay(KafkaTopic(settings.kafka), settings.storage, store, "python -m include.ingest replay")
    report = Report()

    def chosen(most: int, unreadable: list[str]) -> Iterator[DeadLetter]:
        dead_letters = read_dead_letters(store, settings.storage, choice, unreadable)
        return itertools.islice(replayer.pending(dead_letters), most)

    table, count = Table("dead letter", "time", "class", "error | payload"), 0
    for count, dead_letter in enumerate(chosen(options.limit or sys.maxsize, report.unreadable), start=1):
        if count <= options.preview:
            table.add_row(*summary(dead_letter))
    table.title = f"{count} dead letters not replayed"
    console.print(table)
    if options.yes:
        for dead_letter in track(chosen(count, []), "replaying", total=count, console=console):
            replayer.send_and_report(dead_letter, report)
        console.print(str(report))
    else:
        console.print("nothing sent; add --yes to send them to the topic again")
    for kind, text in report.problems():
        logs.logger("ingest").error(kind, letter=text)
    return EXIT_UNLANDED if report.problems() else EXIT_CLEAN


def adopt(settings: Settings, options: argparse.Namespace) -> int:
    """Reset offsets: show the offset at which each partition would go on; with --yes commit it."""
    console = Console(stderr=True)
    with closing(Operator(settings, open_store(settings.storage, settings.aws))) as operator:
        plans = [operator.plan(number, options.offset) for number in operator.chosen(options.partition)]
        console.print(_plan_table(plans))
        if options.yes:
            for plan in plans:
                operator.carry_out(plan)
            console.print(f"{len(plans)} partitions adopted")
        else:
            console.print("nothing changed; add --yes to commit this. End every consumer process first.")
    return EXIT_CLEAN


def _plan_table(plans: list[Plan]) -> Table:
    table = Table("partition", "commit", "made by us", "log", "landed up to", "goes on at", "skipped (gap rows)")
    for plan in plans:
        table.add_row(
            str(plan.partition),
            str(plan.committed) if plan.committed >= 0 else "none",
            "yes" if plan.committed_is_ours else "no",
            f"{plan.log_start} to {plan.log_end}",
            "nothing" if plan.landed_to is None else str(plan.landed_to),
            str(plan.target),
            ", ".join(f"{first} to {last}" for first, last in plan.skipped) or "nothing",
        )
    return table


def resize_cells(settings: Settings, options: argparse.Namespace) -> int:
    """Change the cell size above the present end of the log."""
    console = Console(stderr=True)
    with closing(Operator(settings, open_store(settings.storage, settings.aws))) as operator:
        present = operator.contract.cell_size
        require_size(options.size, present)
        console.print(f"cell size {present} becomes {options.size} above the present end of the log")
        if options.yes:
            operator.resize(options.size)
        else:
            console.print("nothing changed; add --yes to do it. End every consumer process first.")
    return EXIT_CLEAN
