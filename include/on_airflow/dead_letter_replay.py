"""Replays dead letters from inside Airflow, with `ingest/replay` and Airflow's connections."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from typing import Any

from airflow.sdk import BaseHook

from include.ingest.replay import choice
from include.ingest.replay.choice import Filter
from include.ingest.replay.kafka_log import KafkaTopic
from include.ingest.replay.replay import Replay, Report
from include.ingest.store import check_prefixes
from include.on_airflow.connections import KAFKA, bucket_store
from include.on_airflow.refusal import RunParameterError
from include.settings import KafkaSettings, Settings, load

log = logging.getLogger(__name__)

PREVIEW = 50
"""Dead letters that the log lists one by one, and reasons that an error names."""


class UnfinishedReplayError(RuntimeError):
    """Some dead letters were not replayed; the text names them with the reasons."""


def filter_of(params: Mapping[str, Any], today: date) -> Filter:
    """The filter of the run's parameters; an empty parameter excludes nothing. `today` is the UTC day.

    Raises:
        RunParameterError: the days cannot hold a dead letter, or are not days.
    """

    def day(name: str) -> date | None:
        try:
            return date.fromisoformat(params[name]) if params[name] else None
        except ValueError:
            raise RunParameterError(f"{name} is {params[name]!r}: write it as 2026-11-23") from None

    since, until = day("since"), day("until")
    if since and since > today:
        raise RunParameterError(f"since is {since}, which is after today ({today}, UTC): no dead letter exists yet")
    if since and until and since > until:
        raise RunParameterError(f"since is {since}, which is after until ({until}): exchange them")
    return Filter(since, until, params["error_class"] or None, params["partition"], params["offset"])


def run(selection: Filter, params: Mapping[str, Any]) -> dict[str, int]:
    """List the selected dead letters; unless `dry_run`, send them back to the topic, each only once.

    Returns the number `chosen` (selected and not replayed before) and the number `sent`.

    Raises:
        UnfinishedReplayError: the dead letters that the text names were not replayed.
        ContractError: a prefix differs from that of the contract object.
    """
    settings = load()
    store = bucket_store(settings.storage)
    check_prefixes(store, settings.storage)
    replayer = Replay(KafkaTopic(_kafka(settings)), settings.storage, store, "DAG dead_letter_replay")
    report, chosen = Report(), 0
    dead_letters = choice.read_dead_letters(store, settings.storage, selection, report.unreadable)
    for dead_letter in replayer.pending(dead_letters):
        chosen += 1
        if chosen <= PREVIEW:
            log.info("dead letter %s", " | ".join(choice.summary(dead_letter)))
        if not params["dry_run"]:
            replayer.send_and_report(dead_letter, report)
        if params["limit"] and chosen >= params["limit"]:
            break
    result = "none sent, as this is a dry run" if params["dry_run"] else str(report)
    log.info("dead letters chosen that were not replayed before: %d; %s", chosen, result)
    if report.problems():
        raise UnfinishedReplayError(f"{report}: {'; '.join(text for _, text in report.problems()[:PREVIEW])}")
    return {"chosen": chosen, "sent": report.sent}


def _kafka(settings: Settings) -> KafkaSettings:
    """The Kafka settings with the client options of the connection `kafka_default` on top."""
    extra = BaseHook.get_connection(KAFKA).extra_dejson
    return settings.kafka.model_copy(update={"options": settings.kafka.options | extra})
